# How tests are declared.
#
# Labels say what a test needs: `unit` nothing, `process` starts processes, `security` builds real
# sandboxes, `e2e` runs the command, `controllers` limits with a cgroup's controllers, `systemd` starts
# units, `install` builds against what is installed, `fuzz` replays corpora, `bench` prints ratios.

include(GoogleTest)

set(FNRUN_FUZZ_SECONDS 20 CACHE STRING "How long each libFuzzer target runs as a test")

# fnrun_gtest(<name> LABEL <label> SOURCES … LINK … [TIMEOUT seconds] [SERIAL])
# One executable; every TEST of it is a ctest of its own. SERIAL: not beside other tests. A machine
# that is slower than the limits are meant for says FNRUN_TIMEOUT_FACTOR=<whole number> to ctest.
function(fnrun_gtest name)
  cmake_parse_arguments(ARG "SERIAL" "LABEL;TIMEOUT" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest_main fnrun_options)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  set(properties LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  if(ARG_SERIAL)
    list(APPEND properties RUN_SERIAL ON)
  endif()
  # Discovery at test time: a build must not need what the tests need.
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
  # ctest reads this after the tests that it found.
  set(limit ${CMAKE_CURRENT_BINARY_DIR}/${name}_limit.cmake)
  file(CONFIGURE OUTPUT ${limit} @ONLY CONTENT [=[
if("$ENV{FNRUN_TIMEOUT_FACTOR}" MATCHES "^[0-9]+$")
  math(EXPR limit "@ARG_TIMEOUT@ * $ENV{FNRUN_TIMEOUT_FACTOR}")
  foreach(test IN LISTS @name@_TESTS)
    set_tests_properties("${test}" PROPERTIES TIMEOUT ${limit})
  endforeach()
endif()
]=])
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${limit})
endfunction()

# fnrun_fuzzer(<name> SOURCES … LINK … [CORPUS files…])
# The source defines LLVMFuzzerTestOneInput. Under the fuzz preset that is a libFuzzer program;
# elsewhere the same code is fed its corpus and a fixed number of seeded mutations of it, as a test.
function(fnrun_fuzzer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK;CORPUS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} fnrun_options)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(FNRUN_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set(run ${name} -max_total_time=${FNRUN_FUZZ_SECONDS} -rss_limit_mb=2048 -print_final_stats=1 -seed=1
            ${CMAKE_CURRENT_BINARY_DIR}/${name}.found ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${name}.found)
    file(MAKE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    set(run ${name} ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name} ${ARG_CORPUS})
  endif()
  add_test(NAME fuzz.${name} COMMAND ${run})
  set_tests_properties(fuzz.${name} PROPERTIES LABELS "fuzz;unit" TIMEOUT 300)
endfunction()
