# Called at build time by embed_cards.cmake: writes OUTPUT from the list of CARDS.
set(text "// Generated from models/**/*.json by cmake/write_cards.cmake.\n#include <string_view>\n#include <utility>\n#include <vector>\nnamespace zoo {\nstd::vector<std::pair<std::string_view, std::string_view>> embedded_cards() {\n  return {\n")
foreach(card IN LISTS CARDS)
  get_filename_component(name ${card} NAME_WE)
  file(READ ${card} content)
  # String literals are limited to 64 KiB in strict compilers; cards are a few KiB.
  string(APPEND text "    {\"${name}\", R\"~~card~~(${content})~~card~~\"},\n")
endforeach()
string(APPEND text "  };\n}\n}  // namespace zoo\n")
file(WRITE ${OUTPUT} "${text}")
