# Training in several processes. LibTorch holds gloo and c10d, but its headers include gloo's, which it does not ship; NCCL's
# come with the nvidia-nccl wheel beside a CUDA LibTorch. Without them the program builds and says so in `zoo doctor`.
find_path(ZOO_GLOO_INCLUDE gloo/rendezvous/store.h)
if(ZOO_GLOO_INCLUDE)
  target_compile_definitions(zoo_app PUBLIC ZOO_GLOO)
  target_include_directories(zoo_app SYSTEM PRIVATE "${ZOO_GLOO_INCLUDE}")
  find_path(ZOO_NCCL_INCLUDE nccl.h HINTS "${ZOO_TORCH}/../nvidia/nccl/include" "${ZOO_TORCH}/../nvidia/cu13/include")
  find_path(ZOO_CUDA_INCLUDE cuda_runtime_api.h HINTS "${ZOO_TORCH}/../nvidia/cu13/include" "${ZOO_TORCH}/../nvidia/cuda_runtime/include"
            /usr/local/cuda/include)
  if(EXISTS "${ZOO_TORCH}/lib/libtorch_cuda.so" AND ZOO_NCCL_INCLUDE AND ZOO_CUDA_INCLUDE)
    target_compile_definitions(zoo_app PUBLIC ZOO_NCCL)
    target_include_directories(zoo_app SYSTEM PRIVATE "${ZOO_NCCL_INCLUDE}" "${ZOO_CUDA_INCLUDE}")
  endif()
else()
  message(STATUS "gloo's headers are not here (libgloo-dev): built for one process only")
endif()
