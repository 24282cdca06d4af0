#include "tokenizers/model.h"
#include "tokenizers/wordpiece.h"

namespace zoo::tokenizers {

std::unique_ptr<Model> make_model(const JsonField& part) {
  // Files written before the field existed leave the type out; only WordPiece has this other field.
  const bool untyped_wordpiece = !part.has("type") && part.has("max_input_chars_per_word");
  const std::string type = untyped_wordpiece ? "WordPiece" : part.at("type").string();
  if (type == "WordPiece") return make_wordpiece(part);
  fail_unsupported(part, type, "WordPiece");
}

}  // namespace zoo::tokenizers
