# How everything is compiled: ccache when there is one, one precompiled header for all that includes LibTorch, and unity
# batches of 16 (a LibTorch translation unit costs 5 s alone and about 1 s in a batch).
# ccache takes the sloppiness that a precompiled header needs, and paths relative to the source tree, so that clones share it.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_CURRENT_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()

# gcc 13 warns of references to elements of long-lived lists that are found by a temporary name; gcc 14 took that out of -Wall.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^13\\.")
  add_compile_options(-Wno-dangling-reference)
endif()

add_library(zoo_pch OBJECT cmake/pch.cpp)
target_link_libraries(zoo_pch PUBLIC zoo_torch)
target_compile_options(zoo_pch PRIVATE -fPIC -Wall -Wextra)
set_target_properties(zoo_pch PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_include_directories(zoo_pch PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>)
target_precompile_headers(zoo_pch PRIVATE cmake/pch.h)
target_compile_options(zoo_pch PRIVATE -Winvalid-pch -fpch-preprocess)

function(zoo_use_torch target)
  target_link_libraries(${target} PUBLIC zoo_torch nlohmann_json::nlohmann_json)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>)
  target_precompile_headers(${target} REUSE_FROM zoo_pch)
  # -fPIC for programs too: with -fPIE they could not use the precompiled header.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC -Wall -Wextra -Winvalid-pch -fpch-preprocess)
endfunction()

# zoo_library(name folder [EXCLUDE file...]): a static library of every source under a folder.
function(zoo_library name folder)
  cmake_parse_arguments(arg "" "" "EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${folder}/*.cpp)
  if(arg_EXCLUDE)
    list(REMOVE_ITEM sources ${arg_EXCLUDE})
  endif()
  add_library(${name} STATIC ${sources})
  zoo_use_torch(${name})
  if(ZOO_UNITY)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
  endif()
endfunction()
