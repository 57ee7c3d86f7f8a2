# cmake -DBUILD=<build folder> -DSOURCE=<examples/consumer> -DCXX=<compiler> -P install_test.cmake
# Installs libweir to a new prefix, builds the consumer with find_package(weir) and again with pkg-config, and runs both.
foreach(name BUILD SOURCE CXX)
  if(NOT ${name})
    message(FATAL_ERROR "give -D${name}=")
  endif()
endforeach()

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed: ${status}")
  endif()
endfunction()

string(RANDOM LENGTH 8 suffix)
set(work ${BUILD}/install_test-${suffix})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix --component library)
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${work}/consumer -DCMAKE_PREFIX_PATH=${work}/prefix -DCMAKE_CXX_COMPILER=${CXX})
run(${CMAKE_COMMAND} --build ${work}/consumer)
run(${work}/consumer/consumer ${SOURCE}/weir.toml)

file(GLOB_RECURSE pc ${work}/prefix/weir.pc)
get_filename_component(pc_folder ${pc} DIRECTORY)
run(${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${pc_folder} sh -ec
    "${CXX} -O0 ${SOURCE}/main.cpp -o ${work}/by_pkg_config $(pkg-config --cflags --libs weir)")
run(${work}/by_pkg_config ${SOURCE}/weir.toml)
file(REMOVE_RECURSE ${work})
