# Training in several processes. LibTorch holds gloo and c10d, but its headers include gloo's, which it does not ship; NCCL's
# come with the nvidia-nccl wheel beside a CUDA LibTorch. Without them the program builds and says so in `zoo doctor`.
# Only app/engine/ranks.cpp sees any of this.
find_path(ZOO_GLOO_INCLUDE gloo/rendezvous/store.h)
set(distributed_definitions "")
set(distributed_includes "")
if(ZOO_GLOO_INCLUDE)
  list(APPEND distributed_definitions ZOO_GLOO)
  list(APPEND distributed_includes "${ZOO_GLOO_INCLUDE}")
  find_path(ZOO_NCCL_INCLUDE nccl.h HINTS "${ZOO_TORCH}/../nvidia/nccl/include" "${ZOO_TORCH}/../nvidia/cu13/include")
  if(EXISTS "${ZOO_TORCH}/lib/libtorch_cuda.so" AND ZOO_NCCL_INCLUDE AND ZOO_CUDA_INCLUDE)
    list(APPEND distributed_definitions ZOO_NCCL)
    list(APPEND distributed_includes "${ZOO_NCCL_INCLUDE}" "${ZOO_CUDA_INCLUDE}")
  endif()
else()
  message(STATUS "gloo's headers are not here (libgloo-dev): built for one process only")
endif()
# The compiler's own folder named again would hide the C headers from the C++ ones.
list(REMOVE_ITEM distributed_includes /usr/include)
set_source_files_properties(app/engine/ranks.cpp PROPERTIES COMPILE_DEFINITIONS "${distributed_definitions}"
                            INCLUDE_DIRECTORIES "${distributed_includes}" SKIP_UNITY_BUILD_INCLUSION ON)
