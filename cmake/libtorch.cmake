# LibTorch as the target zoo_torch. ZOO_TORCH names the folder that holds include/ and lib/ (a LibTorch distribution
# or the torch folder of a Python package); the Makefile finds or fetches one (tools/), or set it by hand.
set(ZOO_TORCH "$ENV{ZOO_TORCH}" CACHE PATH "folder of LibTorch: holds include/ and lib/")
if(NOT EXISTS "${ZOO_TORCH}/include/torch/csrc/api/include/torch/nn/module.h")
  message(FATAL_ERROR "ZOO_TORCH is '${ZOO_TORCH}', which holds no LibTorch (include/torch/csrc/api). "
                      "Name the folder of LibTorch or of an installed torch package: cmake -DZOO_TORCH=..., or use make build.")
endif()
file(STRINGS "${ZOO_TORCH}/include/torch/headeronly/version.h" version_lines REGEX "#define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX MATCHALL "[0-9]+" version_numbers "${version_lines}")
list(JOIN version_numbers "." ZOO_TORCH_VERSION)
if(ZOO_TORCH_VERSION VERSION_LESS 2.11 OR ZOO_TORCH_VERSION VERSION_GREATER 2.13)
  message(FATAL_ERROR "LibTorch in ${ZOO_TORCH} is ${ZOO_TORCH_VERSION}; zoo needs 2.11 to 2.13")
endif()
message(STATUS "LibTorch ${ZOO_TORCH_VERSION} in ${ZOO_TORCH}")

add_library(zoo_torch INTERFACE)
target_include_directories(zoo_torch SYSTEM INTERFACE
  "${ZOO_TORCH}/include" "${ZOO_TORCH}/include/torch/csrc/api/include")
target_link_libraries(zoo_torch INTERFACE "${ZOO_TORCH}/lib/libtorch.so" "${ZOO_TORCH}/lib/libtorch_cpu.so"
                      "${ZOO_TORCH}/lib/libc10.so")
# The C++ library comes first: LibTorch exports parts of its own old std::filesystem (the CUDA wheel of 2.11 a remove_all that
# jumps to address 0), and the loader takes the first that it meets.
target_link_options(zoo_torch INTERFACE "-Wl,--push-state,--no-as-needed,-lstdc++,--pop-state" "-Wl,-rpath,${ZOO_TORCH}/lib")
# at::parallel_for is a template in LibTorch's headers: without OpenMP in *our* compiler options every loop of ours that uses it
# runs on one thread. Linked is the runtime that LibTorch brings along (wheels: lib/ or ../torch.libs/), since two of them in one
# process would be two pools of threads; a LibTorch that brings none uses the system's.
file(GLOB openmp_runtime "${ZOO_TORCH}/lib/libgomp*.so*" "${ZOO_TORCH}/../torch.libs/libgomp*.so*")
target_compile_options(zoo_torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
if(openmp_runtime)
  list(GET openmp_runtime 0 openmp_runtime)
  get_filename_component(openmp_folder "${openmp_runtime}" DIRECTORY)
  target_link_libraries(zoo_torch INTERFACE "${openmp_runtime}")
  target_link_options(zoo_torch INTERFACE "-Wl,-rpath,${openmp_folder}")
else()
  target_link_options(zoo_torch INTERFACE -fopenmp)
endif()
if(EXISTS "${ZOO_TORCH}/lib/libtorch_cuda.so")
  target_compile_definitions(zoo_torch INTERFACE ZOO_CUDA)
  # Nothing refers to these two by symbol: their kernels register themselves when the library loads.
  target_link_libraries(zoo_torch INTERFACE "-Wl,--no-as-needed,${ZOO_TORCH}/lib/libtorch_cuda.so,${ZOO_TORCH}/lib/libc10_cuda.so,--as-needed")
  file(GLOB nvidia_libs "${ZOO_TORCH}/../nvidia/*/lib")
  foreach(dir IN LISTS nvidia_libs)
    target_link_options(zoo_torch INTERFACE "-Wl,-rpath,${dir}" "-Wl,-rpath-link,${dir}")
  endforeach()
endif()
