# The flags of the project in one place, and the one way to declare a library.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

# Never exported: an application that links the library keeps its own flags.
add_library(fnrun_options INTERFACE)
target_compile_options(fnrun_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow
  -Wnon-virtual-dtor -Wold-style-cast -Wimplicit-fallthrough -Wextra-semi>
  ${FNRUN_OPTIMIZE})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # Its -Wrestrict is wrong about "literal" + std::string at -O2 and above (GCC bug 105651).
  target_compile_options(fnrun_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND FNRUN_SANITIZE)
  # g++ 12 raises false -Wmaybe-uninitialized in coroutine frames once sanitizers rewrite them.
  target_compile_options(fnrun_options INTERFACE -Wno-maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND FNRUN_SANITIZE MATCHES "thread")
  # Asio uses atomic_thread_fence, which TSan cannot model; g++ says so once a file.
  target_compile_options(fnrun_options INTERFACE -Wno-tsan)
endif()

# Sanitizers go to everything that links together, but not to the code that runs in a sandbox before
# exec (isolation/child): its objects opt out by name.
if(FNRUN_SANITIZE)
  add_compile_options(-fsanitize=${FNRUN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FNRUN_SANITIZE})
  if(FNRUN_SANITIZE MATCHES "undefined")
    # UBSan asks a pipe whether it may look at an object, and where none can be made, as in the tests
    # that use up descriptors, it says that the object is none.
    add_compile_options(-fno-sanitize=vptr)
  endif()
endif()
if(FNRUN_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(FNRUN_COVERAGE)
  # Not --coverage: it comes last, whatever a target says, and the code before exec has to say no.
  add_compile_options(-fprofile-arcs -ftest-coverage)
  add_link_options(--coverage)
endif()
if(FNRUN_HARDEN)
  add_compile_options(-D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection
                      -fcf-protection=full -D_GLIBCXX_ASSERTIONS)
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
  include(CheckPIESupported)
  check_pie_supported()
endif()

# fnrun_library(<room> HEADERS a.h … SOURCES a.cc … PUBLIC deps… PRIVATE deps…)
#
# Declares fnrun::<room>. Headers are included as "<room>/x.h" here and once installed; each must
# compile alone (target all_verify_interface_header_sets).
function(fnrun_library room)
  cmake_parse_arguments(ARG "" "" "HEADERS;SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(fnrun_${room} STATIC ${ARG_SOURCES})
  add_library(fnrun::${room} ALIAS fnrun_${room})
  set_target_properties(fnrun_${room} PROPERTIES EXPORT_NAME ${room})
  target_sources(fnrun_${room} PUBLIC
    FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADERS})
  target_compile_features(fnrun_${room} PUBLIC cxx_std_20)
  target_link_libraries(fnrun_${room}
    PUBLIC ${ARG_PUBLIC} PRIVATE $<BUILD_INTERFACE:fnrun_options> ${ARG_PRIVATE})
  install(TARGETS fnrun_${room} EXPORT fnrun-supervise
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fnrun-supervise)
endfunction()
