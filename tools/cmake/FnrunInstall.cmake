# What `cmake --install` puts down besides libraries, headers, programs and policies: how other
# projects find them. CMake: find_package(fnrun-supervise), targets fnrun::<room> and
# fnrun::handler. Everybody else: pkg-config fnrun-supervise, or fnrun-handler for a handler alone.
# tests/consumer builds a project each way.

if(FNRUN_FUZZ)
  return()  # Nothing of a fuzzing build is for installation.
endif()

# A build folder, wherever it is, looks like an installed prefix to the programs in its bin/: they
# find the shipped policies by the same way up and down.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/share/fnrun)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/policies ${PROJECT_BINARY_DIR}/share/fnrun/policies SYMBOLIC)

include(CMakePackageConfigHelpers)
set(FNRUN_CMAKEDIR ${CMAKE_INSTALL_LIBDIR}/cmake/fnrun-supervise)

install(EXPORT fnrun-supervise NAMESPACE fnrun:: DESTINATION ${FNRUN_CMAKEDIR}
  FILE fnrun-superviseTargets.cmake)
set(FNRUN_POLICIES_DIR ${CMAKE_INSTALL_DATADIR}/fnrun/policies)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/fnrun-superviseConfig.cmake.in
  ${PROJECT_BINARY_DIR}/fnrun-superviseConfig.cmake INSTALL_DESTINATION ${FNRUN_CMAKEDIR}
  PATH_VARS FNRUN_POLICIES_DIR)
# While the major version is 0, a new minor one may break whoever builds on it.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fnrun-superviseConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/fnrun-superviseConfig.cmake
  ${PROJECT_BINARY_DIR}/fnrun-superviseConfigVersion.cmake
  DESTINATION ${FNRUN_CMAKEDIR})

# pkg-config. The libraries from the top of the house down, as a linker of static archives wants
# them; in a room the one declared last comes first, because it is built on the others. The prefix
# is found from where the file lies, so that an installed tree can be moved.
set(FNRUN_PC_LIBS "")
set(FNRUN_PC_DEFINITIONS "")
foreach(room IN ITEMS supervisor isolation protocol policies)
  get_property(targets DIRECTORY ${PROJECT_SOURCE_DIR}/${room} PROPERTY BUILDSYSTEM_TARGETS)
  list(REVERSE targets)
  foreach(target IN LISTS targets)
    get_target_property(exported ${target} EXPORT_NAME)
    if(NOT exported)
      continue()  # Not from fnrun_library(): generated code, header checks.
    endif()
    string(APPEND FNRUN_PC_LIBS " -l${target}")
    get_target_property(definitions ${target} INTERFACE_COMPILE_DEFINITIONS)
    if(definitions)
      list(TRANSFORM definitions PREPEND " -D")
      list(APPEND FNRUN_PC_DEFINITIONS ${definitions})
    endif()
  endforeach()
endforeach()
list(REMOVE_DUPLICATES FNRUN_PC_DEFINITIONS)
list(JOIN FNRUN_PC_DEFINITIONS "" FNRUN_PC_DEFINITIONS)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
  BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}/${pkgconfig_dir} OUTPUT_VARIABLE FNRUN_PC_UP)
foreach(package IN ITEMS fnrun-supervise fnrun-handler)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${package}.pc.in
    ${PROJECT_BINARY_DIR}/${package}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${package}.pc DESTINATION ${pkgconfig_dir})
endforeach()
