#include <stdexcept>

#include "tokenizers/bpe.h"
#include "tokenizers/readers.h"
#include "tokenizers/tokenizer_config.h"

namespace zoo::tokenizers {
namespace tokenizer_json_detail {

AddedToken read_added(const JsonField& field) {
  AddedToken token;
  token.content = field.at("content").string();
  token.special = field.boolean_or("special", false);
  token.single_word = field.boolean_or("single_word", false);
  token.lstrip = field.boolean_or("lstrip", false);
  token.rstrip = field.boolean_or("rstrip", false);
  token.normalized = field.boolean_or("normalized", !token.special);
  return token;
}

/// Ids are given out anew, as the reference does; a file that expects others is damaged or from another
/// vocabulary.
void add_tokens(const JsonField& list, Pipeline::Parts& parts) {
  for (const auto& field : list.list()) {
    const auto token = read_added(field);
    parts.added.add(token, *parts.model, parts.normalizer.get());
    const auto id = parts.added.find(token.content);
    if (id && *id != field.at("id").id()) {
      throw std::runtime_error(field.path() + ": \"" + token.content + "\" has the id " +
                               std::to_string(field.at("id").id()) + "; in this vocabulary it is " +
                               std::to_string(*id));
    }
  }
}

bool is_left(const JsonField& part) {
  const std::string direction = part.string_or("direction", "Right");
  if (direction != "Left" && direction != "Right") part.at("direction").fail("\"Left\" or \"Right\"");
  return direction == "Left";
}

Truncation read_truncation(const JsonField& part) {
  Truncation truncation;
  truncation.max_length = part.at("max_length").id();
  if (part.has("stride")) truncation.stride = part.at("stride").id();
  truncation.left = is_left(part);
  const std::string strategy = part.string_or("strategy", "LongestFirst");
  if (strategy == "OnlyFirst") truncation.strategy = Truncation::Strategy::only_first;
  else if (strategy == "OnlySecond") truncation.strategy = Truncation::Strategy::only_second;
  else if (strategy != "LongestFirst") part.at("strategy").fail("LongestFirst, OnlyFirst or OnlySecond");
  return truncation;
}

/// The strategy is "BatchLongest" or {"Fixed": 128}.
Padding read_padding(const JsonField& part) {
  Padding padding;
  padding.id = part.at("pad_id").id();
  if (part.has("pad_type_id")) padding.type_id = part.at("pad_type_id").id();
  if (part.has("pad_to_multiple_of")) padding.multiple_of = part.at("pad_to_multiple_of").id();
  padding.left = is_left(part);
  if (!part.has("strategy")) return padding;
  const auto strategy = part.at("strategy");
  if (strategy.has("Fixed")) padding.length = strategy.at("Fixed").id();
  else if (strategy.value() != "BatchLongest") strategy.fail("\"BatchLongest\" or {\"Fixed\": length}");
  return padding;
}

/// A byte-level pre-tokenizer at the end leaves words as they are when the model can read them so.
void join_byte_level(Pipeline::Parts& parts) {
  PreTokenizer* last = parts.pre_tokenizer.get();
  while (auto* sequence = dynamic_cast<PreTokenizerSequence*>(last)) {
    if (sequence->steps.empty()) return;
    last = sequence->steps.back().get();
  }
  auto* level = dynamic_cast<ByteLevel*>(last);
  auto* bpe = dynamic_cast<Bpe*>(parts.model.get());
  if (!level || !bpe || !bpe->work_on_bytes()) return;
  level->spell = false;
  parts.on_bytes = true;
}

bool is_bert(const std::string& tokenizer_class) {
  return tokenizer_class == "BertTokenizer" || tokenizer_class == "BertTokenizerFast";
}

/// For BERT's own class transformers lets tokenizer_config.json decide these, whatever tokenizer.json says.
void override_normalizer(const TokenizerConfig& config, Normalizer* normalizer) {
  auto* bert = dynamic_cast<BertNormalizer*>(normalizer);
  if (!bert || !is_bert(config.tokenizer_class)) return;
  if (config.do_lower_case && bert->lowercase != *config.do_lower_case) {
    bert->lowercase = bert->strip_accents = *config.do_lower_case;
  }
  if (config.strip_accents) bert->strip_accents = *config.strip_accents;
  if (config.tokenize_chinese_chars) bert->handle_chinese_chars = *config.tokenize_chinese_chars;
}

Pipeline::Parts read_parts(const JsonField& root, const TokenizerConfig& config) {
  Pipeline::Parts parts;
  parts.names = config.names;
  parts.model_max_length = config.model_max_length;
  parts.model = make_model(root.at("model"));
  if (!parts.model->unknown_token().empty()) parts.names.unk = parts.model->unknown_token();
  if (root.has("normalizer")) parts.normalizer = make_normalizer(root.at("normalizer"));
  override_normalizer(config, parts.normalizer.get());
  if (root.has("pre_tokenizer")) parts.pre_tokenizer = make_pre_tokenizer(root.at("pre_tokenizer"));
  if (root.has("post_processor")) parts.post_processor = make_post_processor(root.at("post_processor"));
  parts.decoder = std::make_unique<JoinDecoder>();
  if (root.has("decoder")) parts.decoder = make_decoder(root.at("decoder"));
  if (root.has("added_tokens")) add_tokens(root.at("added_tokens"), parts);
  for (const auto& token : config.added) parts.added.add(token, *parts.model, parts.normalizer.get());
  if (root.has("truncation")) parts.truncation = read_truncation(root.at("truncation"));
  if (root.has("padding")) parts.padding = read_padding(root.at("padding"));
  parts.truncate_left = config.truncate_left || (parts.truncation && parts.truncation->left);
  join_byte_level(parts);
  return parts;
}

}  // namespace tokenizer_json_detail

std::unique_ptr<Tokenizer> read_tokenizer_json(const std::filesystem::path& path) {
  const TokenizerConfig config = read_tokenizer_config(path.parent_path());
  const std::string text = read_text_file(path);
  try {
    const Json document = parse_json(text);
    const JsonField root(document, "");
    const std::string version = root.string_or("version", "1.0");
    if (version != "1.0") root.at("version").fail("\"1.0\"");
    auto parts = tokenizer_json_detail::read_parts(root, config);
    return std::make_unique<Pipeline>(std::move(parts));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

}  // namespace zoo::tokenizers
