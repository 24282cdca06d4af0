# One test program (Catch2, either major version). CTest has one entry for the unit tests, one for the command line, and one
# per network for parity and properties: ZOO_MODEL selects it, and the program refuses a name that is not registered.
find_package(Catch2 REQUIRED)
file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}
     tests/unit/*.cpp tests/property/*.cpp tests/parity/*.cpp tests/cli/*.cpp tests/fuzz/*.cpp)
add_executable(zoo_tests tests/main.cpp ${sources})
zoo_use_torch(zoo_tests)
target_link_libraries(zoo_tests PRIVATE zoo_app ZLIB::ZLIB Catch2::Catch2)
target_compile_definitions(zoo_tests PRIVATE ZOO_TEST_DIR="${CMAKE_CURRENT_SOURCE_DIR}/tests" ZOO_PROGRAM="$<TARGET_FILE:zoo>")
if(ZOO_UNITY)
  set_target_properties(zoo_tests PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  set_source_files_properties(tests/main.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON SKIP_PRECOMPILE_HEADERS ON)
endif()
add_dependencies(zoo_tests zoo)

add_test(NAME unit COMMAND zoo_tests "~[.]~[cli]~[parity]~[property]")
add_test(NAME cli COMMAND zoo_tests "[cli]")
file(GLOB_RECURSE cards CONFIGURE_DEPENDS models/*.json)
foreach(card IN LISTS cards)
  get_filename_component(network ${card} NAME_WE)
  add_test(NAME network.${network} COMMAND zoo_tests "[parity],[property]")
  set_tests_properties(network.${network} PROPERTIES ENVIRONMENT ZOO_MODEL=${network})
endforeach()

add_test(NAME dependencies COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tests/cli/dependencies.sh ${CMAKE_CURRENT_SOURCE_DIR})
add_test(NAME embed COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tests/cli/embed.sh ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
# The kernels that other processors would use, on this one.
add_test(NAME parity.onednn COMMAND zoo_tests "[parity],[blocks]")
set_tests_properties(parity.onednn PROPERTIES ENVIRONMENT ZOO_LINEAR_KERNEL=onednn)
