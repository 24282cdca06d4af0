#include "tokenizers/pre_tokenizer.h"

namespace zoo::tokenizers {

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonField& part) {
  const std::string type = part.at("type").string();
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  if (type == "Sequence") {
    auto sequence = std::make_unique<PreTokenizerSequence>();
    for (const auto& step : part.at("pretokenizers").list())
      sequence->steps.push_back(make_pre_tokenizer(step));
    return sequence;
  }
  fail_unsupported(part, type, "BertPreTokenizer, Sequence, Whitespace, WhitespaceSplit");
}

void PreTokenizerSequence::apply(Pieces& pieces) const {
  for (const auto& step : steps) step->apply(pieces);
}

}  // namespace zoo::tokenizers
