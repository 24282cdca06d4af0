#include "tokenizers/decoder.h"

#include <string_view>
#include <utility>

namespace zoo::tokenizers {
namespace decoder_detail {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// The reference applies these to each token apart, with the space before it, in this order.
void clean_up(std::string& token) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) replace_all(token, from, to);
}

}  // namespace decoder_detail

std::string JoinDecoder::apply(const std::vector<std::string>& tokens) const {
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) out += i == 0 ? tokens[i] : " " + tokens[i];
  return out;
}

std::string WordPieceDecoder::apply(const std::vector<std::string>& tokens) const {
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string token = tokens[i];
    if (i > 0) token = token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
    if (cleanup) decoder_detail::clean_up(token);
    out += token;
  }
  return out;
}

std::unique_ptr<Decoder> make_decoder(const JsonField& part) {
  const std::string type = part.at("type").string();
  if (type != "WordPiece") fail_unsupported(part, type, "WordPiece");
  auto decoder = std::make_unique<WordPieceDecoder>();
  decoder->prefix = part.string_or("prefix", decoder->prefix);
  decoder->cleanup = part.boolean_or("cleanup", true);
  return decoder;
}

}  // namespace zoo::tokenizers
