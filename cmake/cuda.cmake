# CUDA graphs, kernels of our own and NCCL need CUDA's own headers beside a CUDA LibTorch, which ships none. Without them the program builds and
# launches LibTorch's kernels one by one. Only app/engine/cuda_graph.cpp, models/blocks/gpu_kernels.cpp and app/engine/ranks.cpp see them.
#
# crt/host_config.h is the header that the wheels with CUDA's headers leave out where they are incomplete: with it the others are there too.
find_path(ZOO_CUDA_INCLUDE crt/host_config.h HINTS "${ZOO_TORCH}/../nvidia/cu13/include" "${ZOO_TORCH}/../nvidia/cuda_runtime/include"
          "$ENV{CUDA_HOME}/include" /usr/local/cuda/include /usr/local/cuda-13/include /usr/local/cuda-13.0/targets/x86_64-linux/include)
if(EXISTS "${ZOO_TORCH}/lib/libtorch_cuda.so" AND ZOO_CUDA_INCLUDE)
  set_source_files_properties(app/engine/cuda_graph.cpp PROPERTIES COMPILE_DEFINITIONS ZOO_CUDA_GRAPHS
                              INCLUDE_DIRECTORIES "${ZOO_CUDA_INCLUDE}" SKIP_UNITY_BUILD_INCLUSION ON)
  set_source_files_properties(models/blocks/gpu_kernels.cpp PROPERTIES COMPILE_DEFINITIONS ZOO_CUDA_KERNELS
                              INCLUDE_DIRECTORIES "${ZOO_CUDA_INCLUDE}" SKIP_UNITY_BUILD_INCLUSION ON)
  target_link_libraries(zoo_models PUBLIC ${CMAKE_DL_LIBS})
endif()
