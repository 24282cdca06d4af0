# zoo_embed_cards(target): one generated source holding every models/**/<name>.json as text, so that the program needs no
# data files to know its models.
function(zoo_embed_cards target)
  file(GLOB_RECURSE cards CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/models/*.json)
  set(output ${CMAKE_BINARY_DIR}/generated/model_cards.cpp)
  add_custom_command(OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${output}" "-DCARDS=${cards}" -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/write_cards.cmake
    DEPENDS ${cards} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/write_cards.cmake VERBATIM)
  target_sources(${target} PRIVATE ${output})
  set_source_files_properties(${output} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON SKIP_PRECOMPILE_HEADERS ON)
endfunction()
