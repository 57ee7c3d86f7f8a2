# cmake --install: programs (component programs), and libweir for C++ services (component library): one archive, the headers
# they need, a CMake package (find_package(weir), target weir::weir) and weir.pc.
include(GNUInstallDirs)

# One archive out of the folders' own, so that a service links one thing whatever the house looks like inside.
set(WEIR_ARCHIVE ${PROJECT_BINARY_DIR}/lib/libweir.a)
set(parts base config schema policy router client)
set(mri "CREATE ${WEIR_ARCHIVE}\n")
set(part_targets)
foreach(part ${parts})
  string(APPEND mri "ADDLIB $<TARGET_FILE:weir_${part}>\n")
  list(APPEND part_targets weir_${part})
endforeach()
string(APPEND mri "SAVE\nEND\n")
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/libweir.mri CONTENT "${mri}")
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
add_custom_command(OUTPUT ${WEIR_ARCHIVE}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${WEIR_ARCHIVE}
  COMMAND sh -c "\"$0\" -M < \"$1\"" ${CMAKE_AR} ${PROJECT_BINARY_DIR}/libweir.mri
  DEPENDS ${part_targets} ${PROJECT_BINARY_DIR}/libweir.mri VERBATIM)
add_custom_target(weir_archive ALL DEPENDS ${WEIR_ARCHIVE})
install(FILES ${WEIR_ARCHIVE} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)

# Installed below include/weir as they lie here: <weir/router/client/cluster.hpp>, and all it includes in turn.
set(open_headers
  router/client/cluster.hpp router/client/catalog_loader.hpp router/router.hpp config/load.hpp
  schema/bucket_map.hpp schema/catalog.hpp schema/identity.hpp schema/month.hpp
  policy/balance.hpp policy/circuit_breaker.hpp policy/health.hpp)
set(public_headers)
while(open_headers)
  list(POP_FRONT open_headers header)
  if(header IN_LIST public_headers)
    continue()
  endif()
  list(APPEND public_headers ${header})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${header})
  file(STRINGS ${PROJECT_SOURCE_DIR}/${header} includes REGEX "^ *# *include \"")
  foreach(line ${includes})
    string(REGEX REPLACE "^[^\"]*\"([^\"]+)\".*$" "\\1" included "${line}")
    list(APPEND open_headers ${included})
  endforeach()
endwhile()
foreach(header ${public_headers})
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weir/${folder} COMPONENT library)
endforeach()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
file(WRITE ${PROJECT_BINARY_DIR}/weirConfig.cmake.in [=[
@PACKAGE_INIT@
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(PkgConfig)
pkg_check_modules(WEIR_LIBPQXX REQUIRED IMPORTED_TARGET libpqxx)
pkg_check_modules(WEIR_LIBPQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(WEIR_TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)
find_library(WEIR_PG_QUERY_LIBRARY NAMES libpg_query.a pg_query REQUIRED)   # it ships no pkg-config file
if(NOT TARGET weir::weir)
  add_library(weir::weir STATIC IMPORTED)
  set_target_properties(weir::weir PROPERTIES IMPORTED_LOCATION "@PACKAGE_CMAKE_INSTALL_LIBDIR@/libweir.a")
  target_include_directories(weir::weir INTERFACE "@PACKAGE_CMAKE_INSTALL_INCLUDEDIR@" "@PACKAGE_CMAKE_INSTALL_INCLUDEDIR@/weir")
  target_compile_features(weir::weir INTERFACE cxx_std_20)
  target_link_libraries(weir::weir INTERFACE PkgConfig::WEIR_LIBPQXX PkgConfig::WEIR_LIBPQ PkgConfig::WEIR_TOMLPLUSPLUS
    ${WEIR_PG_QUERY_LIBRARY} Threads::Threads)
endif()
check_required_components(weir)
]=])
include(CMakePackageConfigHelpers)
configure_package_config_file(${PROJECT_BINARY_DIR}/weirConfig.cmake.in ${PROJECT_BINARY_DIR}/weirConfig.cmake
  INSTALL_DESTINATION ${package} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weirConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weirConfig.cmake ${PROJECT_BINARY_DIR}/weirConfigVersion.cmake DESTINATION ${package} COMPONENT library)

# ${pcfiledir}: the prefix is where the file lies, wherever `cmake --install --prefix` put it.
file(WRITE ${PROJECT_BINARY_DIR}/weir.pc.in [=[
prefix=${pcfiledir}/@WEIR_PC_UP@
includedir=${prefix}/@CMAKE_INSTALL_INCLUDEDIR@
libdir=${prefix}/@CMAKE_INSTALL_LIBDIR@

Name: weir
Description: Sharded PostgreSQL for C++ services: routing decisions and a client over libpqxx
Version: @PROJECT_VERSION@
Requires: libpqxx libpq tomlplusplus
Cflags: -std=c++20 -I${includedir} -I${includedir}/weir
Libs: -L${libdir} -lweir -lpg_query -pthread
]=])
file(RELATIVE_PATH WEIR_PC_UP /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(${PROJECT_BINARY_DIR}/weir.pc.in ${PROJECT_BINARY_DIR}/weir.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/weir.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)

foreach(program weir weirctl)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
  endif()
endforeach()

# systemd's units, with the paths of this installation.
set(unit_folder ${PROJECT_BINARY_DIR}/systemd)
configure_file(${PROJECT_SOURCE_DIR}/packaging/systemd/weir.service.in ${unit_folder}/weir.service @ONLY)
configure_file(${PROJECT_SOURCE_DIR}/packaging/systemd/handover.conf.in ${unit_folder}/handover.conf @ONLY)
install(FILES ${unit_folder}/weir.service ${PROJECT_SOURCE_DIR}/packaging/systemd/weir.socket
  DESTINATION lib/systemd/system COMPONENT programs)
install(FILES ${unit_folder}/handover.conf ${PROJECT_SOURCE_DIR}/docs/from-pgbouncer.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT programs)
