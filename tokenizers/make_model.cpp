#include "tokenizers/bpe.h"
#include "tokenizers/model.h"
#include "tokenizers/unigram.h"
#include "tokenizers/wordlevel.h"
#include "tokenizers/wordpiece.h"

namespace zoo::tokenizers {
namespace make_model_detail {

/// Files written before the field existed leave the type out; each model has a field that no other has.
std::string type_of(const JsonField& part) {
  if (part.has("type")) return part.at("type").string();
  if (part.has("max_input_chars_per_word")) return "WordPiece";
  if (part.has("merges")) return "BPE";
  if (part.has("unk_id") || (part.has("vocab") && part.at("vocab").value().is_array())) return "Unigram";
  return part.at("type").string();
}

}  // namespace make_model_detail

std::unique_ptr<Model> make_model(const JsonField& part) {
  const std::string type = make_model_detail::type_of(part);
  if (type == "BPE") return make_bpe(part);
  if (type == "Unigram") return make_unigram(part);
  if (type == "WordLevel") return make_wordlevel(part);
  if (type == "WordPiece") return make_wordpiece(part);
  fail_unsupported(part, type, "BPE, Unigram, WordLevel, WordPiece");
}

}  // namespace zoo::tokenizers
