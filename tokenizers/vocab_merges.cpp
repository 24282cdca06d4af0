// vocab.json with merges.txt: the byte-level BPE of GPT-2, and RoBERTa's layout of special tokens around it (BART, CodeT5).
#include <algorithm>
#include <stdexcept>

#include "tokenizers/bpe.h"
#include "tokenizers/readers.h"
#include "tokenizers/tokenizer_config.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace vocab_merges_detail {

const SpecialNames kRobertaNames{"<pad>", "<unk>", "<s>", "</s>", "<mask>", "<s>", "</s>"};
const SpecialNames kGpt2Names{"", "<|endoftext|>", "", "", "", "<|endoftext|>", "<|endoftext|>"};

/// One merge a line; "#version: 0.2" at the top. Lines end at "\n" or "\r\n".
Bpe::Merges read_merges(std::string_view text) {
  Bpe::Merges merges;
  size_t line_number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t newline = std::min(text.find('\n', begin), text.size());
    auto line = text.substr(begin, newline - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin = newline + 1;
    ++line_number;
    if (line.starts_with("#version")) continue;
    const size_t space = line.find(' ');
    if (!is_valid_utf8(line) || space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      throw std::runtime_error("line " + std::to_string(line_number) + " is not two tokens with one space between them");
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

std::vector<std::pair<std::string, uint32_t>> read_vocab(const std::filesystem::path& path) {
  try {
    const Json document = parse_json(read_text_file(path));
    const JsonField root(document, "");
    std::vector<std::pair<std::string, uint32_t>> tokens;
    for (const auto& [token, id] : root.object()) tokens.emplace_back(token, JsonField(id, "[\"" + token + "\"]").id());
    if (tokens.empty()) throw std::runtime_error("the vocabulary is empty; expected {token: id, ...}");
    return tokens;
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

bool holds(const std::vector<std::pair<std::string, uint32_t>>& tokens, const std::string& text) {
  return std::any_of(tokens.begin(), tokens.end(), [&](const auto& token) { return token.first == text; });
}

/// Which of the two layouts; without a class the vocabulary tells.
bool is_roberta(const std::string& tokenizer_class, const std::vector<std::pair<std::string, uint32_t>>& tokens) {
  for (const char* name : {"Roberta", "Bart", "Longformer", "LED", "Mvp"})
    if (tokenizer_class.starts_with(name)) return true;
  if (tokenizer_class.starts_with("GPT2") || tokenizer_class.starts_with("CodeGen")) return false;
  // A network whose own class reads other files (CodeT5 is a T5), or no class at all: as the vocabulary looks.
  return holds(tokens, "<s>") && holds(tokens, "</s>") && holds(tokens, "<pad>");
}

/// GPT-2's files may ask for a token at either end.
PostProcessor ends(const TokenizerConfig& config, const AddedTokens& added) {
  PostProcessor post;
  const auto piece = [&](const std::string& name, int64_t type) { return TemplatePiece{{*added.find(name)}, false, type}; };
  if (config.add_bos_token.value_or(false)) {
    post.single.insert(post.single.begin(), piece(config.names.bos, 0));
    post.pair.insert(post.pair.begin(), piece(config.names.bos, 0));
    post.pair.insert(post.pair.end() - 1, piece(config.names.bos, 1));
  }
  if (config.add_eos_token.value_or(false)) {
    post.single.push_back(piece(config.names.eos, 0));
    post.pair.insert(post.pair.end() - (config.add_bos_token.value_or(false) ? 2 : 1), piece(config.names.eos, 0));
    post.pair.push_back(piece(config.names.eos, 1));
  }
  return post;
}

void add_special(Pipeline::Parts& parts, const TokenizerConfig& config) {
  for (const auto& token : config.added) parts.added.add(token, *parts.model, nullptr);
  for (const auto& name : {config.names.bos, config.names.eos, config.names.unk, config.names.sep, config.names.pad, config.names.cls, config.names.mask})
    parts.added.add({name, false, false, false, /*normalized=*/false, /*special=*/true}, *parts.model, nullptr);
}

}  // namespace vocab_merges_detail

std::unique_ptr<Tokenizer> read_vocab_merges(const std::filesystem::path& vocab_file, const std::filesystem::path& merges_file) {
  namespace detail = vocab_merges_detail;
  const auto folder = vocab_file.parent_path();
  auto tokens = detail::read_vocab(vocab_file);
  const bool roberta = detail::is_roberta(tokenizer_class_of(folder), tokens);
  const TokenizerConfig config = read_tokenizer_config(folder, roberta ? detail::kRobertaNames : detail::kGpt2Names);
  try {
    Pipeline::Parts parts;
    parts.names = config.names;
    parts.model_max_length = config.model_max_length;
    parts.truncate_left = config.truncate_left;
    auto bpe = std::make_unique<Bpe>(std::move(tokens), detail::read_merges(read_text_file(merges_file)), Bpe::Options{});
    auto level = std::make_unique<ByteLevel>();
    level->add_prefix_space = config.add_prefix_space.value_or(false);
    parts.on_bytes = bpe->work_on_bytes();
    level->spell = !parts.on_bytes;
    parts.model = std::move(bpe);
    detail::add_special(parts, config);
    if (roberta) {
      parts.post_processor = roberta_post_processor(*parts.added.find(config.names.cls), *parts.added.find(config.names.sep));
      parts.post_processor.trim_offsets = true;
      parts.post_processor.add_prefix_space = level->add_prefix_space;
    } else {
      parts.post_processor = detail::ends(config, parts.added);
    }
    parts.pre_tokenizer = std::move(level);
    parts.decoder = std::make_unique<ByteLevelDecoder>();
    return std::make_unique<Pipeline>(std::move(parts));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(merges_file.string() + ": " + error.what());
  }
}

}  // namespace zoo::tokenizers
