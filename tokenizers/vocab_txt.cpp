#include <algorithm>
#include <stdexcept>

#include "tokenizers/readers.h"
#include "tokenizers/tokenizer_config.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8.h"
#include "tokenizers/wordpiece.h"

namespace zoo::tokenizers {
namespace vocab_txt_detail {

std::string_view without_trailing_space(std::string_view line) {
  while (!line.empty()) {
    size_t begin = line.size() - 1;
    while (begin > 0 && (static_cast<uint8_t>(line[begin]) & 0xC0) == 0x80) --begin;
    if (!has_property(decode_char(line, begin).code_point, kSpace)) break;
    line = line.substr(0, begin);
  }
  return line;
}

/// One token a line; its id is the line's number, from 0. White space at the end of a line does not count
/// (so CRLF files work); a token that is there twice keeps its last id; an empty line is the empty token:
/// all as the reference does.
std::vector<std::pair<std::string, uint32_t>> read_tokens(std::string_view text) {
  std::vector<std::pair<std::string, uint32_t>> tokens;
  for (size_t begin = 0; begin < text.size();) {
    const size_t newline = std::min(text.find('\n', begin), text.size());
    const auto line = text.substr(begin, newline - begin);
    if (!is_valid_utf8(line))
      throw std::runtime_error("line " + std::to_string(tokens.size() + 1) + " is not UTF-8");
    tokens.emplace_back(without_trailing_space(line), static_cast<uint32_t>(tokens.size()));
    begin = newline + 1;
  }
  return tokens;
}

}  // namespace vocab_txt_detail

std::unique_ptr<Tokenizer> read_vocab_txt(const std::filesystem::path& path) {
  const TokenizerConfig config = read_tokenizer_config(path.parent_path());
  try {
    Pipeline::Parts parts;
    parts.names = config.names;
    parts.model_max_length = config.model_max_length;
    auto normalizer = std::make_unique<BertNormalizer>();
    normalizer->lowercase = config.do_lower_case.value_or(true);
    normalizer->strip_accents = config.strip_accents.value_or(normalizer->lowercase);
    normalizer->handle_chinese_chars = config.tokenize_chinese_chars.value_or(true);
    parts.normalizer = std::move(normalizer);
    parts.pre_tokenizer = std::make_unique<BertPreTokenizer>();
    WordPiece::Options options;
    options.unk_token = config.names.unk;
    parts.model = std::make_unique<WordPiece>(vocab_txt_detail::read_tokens(read_text_file(path)), options);
    for (const auto& token : config.added) parts.added.add(token, *parts.model, parts.normalizer.get());
    for (const auto& name :
         {config.names.unk, config.names.sep, config.names.pad, config.names.cls, config.names.mask}) {
      const AddedToken token{name, false, false, false, /*normalized=*/false, /*special=*/true};
      parts.added.add(token, *parts.model, parts.normalizer.get());
    }
    parts.post_processor =
        bert_post_processor(*parts.added.find(config.names.cls), *parts.added.find(config.names.sep));
    parts.decoder = std::make_unique<WordPieceDecoder>();
    return std::make_unique<Pipeline>(std::move(parts));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

}  // namespace zoo::tokenizers
