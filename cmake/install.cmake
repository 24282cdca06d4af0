# cmake --install: the program, and all that another C++ program needs to embed a network (examples/embed).
#   bin/zoo   include/zoo/{app,models,weights,tokenizers,metrics,data}/*.h   lib/libzoo_*.a   lib/cmake/zoo   share/zoo
# LibTorch itself stays where it is; the program and the CMake package remember the folder.
set_target_properties(zoo PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS zoo RUNTIME DESTINATION bin)
install(TARGETS zoo_app zoo_models zoo_weights zoo_tokenizers zoo_metrics zoo_data ARCHIVE DESTINATION lib)
install(DIRECTORY app models weights tokenizers metrics data DESTINATION include/zoo FILES_MATCHING PATTERN "*.h")
install(DIRECTORY tests/fixtures recipes docs DESTINATION share/zoo)
install(FILES README.md LICENSE DESTINATION share/doc/zoo)

include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_CURRENT_BINARY_DIR}/package)
configure_package_config_file(cmake/zooConfig.cmake.in ${package_folder}/zooConfig.cmake INSTALL_DESTINATION lib/cmake/zoo)
write_basic_package_version_file(${package_folder}/zooConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${package_folder}/zooConfig.cmake ${package_folder}/zooConfigVersion.cmake cmake/libtorch.cmake
              cmake/opencv.cmake DESTINATION lib/cmake/zoo)

# Shell completion, as the program itself writes it.
install(CODE "
  set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share/bash-completion/completions\")
  file(MAKE_DIRECTORY \"\${folder}\")
  execute_process(COMMAND \"$<TARGET_FILE:zoo>\" completion bash OUTPUT_FILE \"\${folder}/zoo\" COMMAND_ERROR_IS_FATAL ANY)
  message(STATUS \"Installing: \${folder}/zoo\")")
