#include "tokenizers/decoder.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "tokenizers/byte_alphabet.h"
#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/regex.h"
#include "tokenizers/utf8.h"

namespace zoo::tokenizers {
namespace decoder_detail {

constexpr auto kSupported = "BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, Sequence, Strip, WordPiece";
constexpr auto kReplacementText = "\xEF\xBF\xBD";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = from.empty() ? std::string::npos : text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  size_t done = 0;
  for (; at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  text = std::move(out.append(text, done));
}

/// As replace_all, for texts of a file: refuses what would fill the memory.
void replace_checked(std::string& text, const std::string& from, const std::string& to) {
  constexpr size_t kMostBytes = size_t{1} << 26;
  size_t matches = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + from.size())) ++matches;
  if (matches > 0 && to.size() > kMostBytes / matches)
    throw std::runtime_error("tokenizer: the decoder Replace would make more than " + std::to_string(kMostBytes) + " bytes of a token");
  replace_all(text, from, to);
}

/// The reference applies these to each token apart, with the space before it, in this order.
void clean_up(std::string& token) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) replace_all(token, from, to);
}

/// Each malformed sequence becomes one U+FFFD.
std::string repaired(const std::string& bytes) {
  if (is_valid_utf8(bytes)) return bytes;
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    const auto c = decode_char(bytes, i);
    append_utf8(out, c.code_point);
    i += c.bytes;
  }
  return out;
}

/// A decoder that treats each token apart.
struct EachToken final : Decoder {
  std::function<std::string(std::string)> rewrite;
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (auto& token : tokens) token = rewrite(std::move(token));
    return tokens;
  }
};

struct FuseDecoder final : Decoder {
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::string out;
    for (const auto& token : tokens) out += token;
    return {std::move(out)};
  }
};

/// <0x0A> is the byte 10; bytes that follow each other make characters, or as many U+FFFD when they do not.
struct ByteFallbackDecoder final : Decoder {
  static bool parse(const std::string& token, char& byte) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return false;
    unsigned value = 0;
    const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
    byte = static_cast<char>(value);
    return error == std::errc() && end == token.data() + 5;
  }

  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto write = [&] {
      if (bytes.empty()) return;
      if (is_valid_utf8(bytes)) out.push_back(bytes);
      else out.insert(out.end(), bytes.size(), kReplacementText);
      bytes.clear();
    };
    for (auto& token : tokens) {
      char byte = 0;
      if (parse(token, byte)) {
        bytes.push_back(byte);
        continue;
      }
      write();
      out.push_back(std::move(token));
    }
    write();
    return out;
  }
};

/// Marks the end of a word with `suffix`.
struct BpeDecoder final : Decoder {
  std::string suffix = "</w>";
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
    return tokens;
  }
};

/// Connectionist temporal classification: equal tokens in a row are one, the padding token separates.
struct CtcDecoder final : Decoder {
  std::string pad_token = "<pad>", word_delimiter_token = "|";
  bool cleanup = true;
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    std::vector<std::string> out;
    for (auto& token : tokens) {
      replace_all(token, pad_token, "");
      if (cleanup) {
        clean_up(token);
        replace_all(token, word_delimiter_token, " ");
      }
      if (!token.empty()) out.push_back(std::move(token));
    }
    return out;
  }
};

struct DecoderSequence final : Decoder {
  std::vector<std::unique_ptr<Decoder>> steps;
  std::vector<std::string> apply(std::vector<std::string> tokens) const override {
    for (const auto& step : steps) tokens = step->apply(std::move(tokens));
    return tokens;
  }
};

std::unique_ptr<Decoder> make_each(std::function<std::string(std::string)> rewrite) {
  auto decoder = std::make_unique<EachToken>();
  decoder->rewrite = std::move(rewrite);
  return decoder;
}

std::unique_ptr<Decoder> make_strip(const JsonField& part) {
  const std::string content = part.at("content").string();
  if (content.empty() || decode_char(content, 0).bytes != content.size()) part.at("content").fail("one character");
  const size_t start = part.at("start").id(), stop = part.at("stop").id();
  return make_each([=](std::string token) {
    std::string_view rest = token;
    for (size_t i = 0; i < start && rest.starts_with(content); ++i) rest.remove_prefix(content.size());
    for (size_t i = 0; i < stop && rest.ends_with(content); ++i) rest.remove_suffix(content.size());
    return std::string(rest);
  });
}

std::unique_ptr<Decoder> make_replace(const JsonField& part) {
  const auto pattern = part.at("pattern");
  const std::string content = part.at("content").string();
  if (pattern.has("String")) {
    const std::string from = pattern.at("String").string();
    if (from.empty()) pattern.at("String").fail("at least one character");
    return make_each([=](std::string token) {
      replace_checked(token, from, content);
      return token;
    });
  }
  if (!pattern.has("Regex")) pattern.fail("{\"String\": text} or {\"Regex\": pattern}");
  const auto regex = std::make_shared<Regex>(pattern.at("Regex").string());
  return make_each([=](std::string token) {
    std::vector<Span> matches;
    regex->find_all(token, matches);
    std::string out;
    size_t done = 0;
    for (const auto& match : matches) {
      out += token.substr(done, match.begin - done) + content;
      done = match.end;
    }
    return out + token.substr(done);
  });
}

std::unique_ptr<Decoder> make_ctc(const JsonField& part) {
  auto decoder = std::make_unique<CtcDecoder>();
  decoder->pad_token = part.string_or("pad_token", decoder->pad_token);
  decoder->word_delimiter_token = part.string_or("word_delimiter_token", decoder->word_delimiter_token);
  decoder->cleanup = part.boolean_or("cleanup", true);
  return decoder;
}

std::unique_ptr<Decoder> make_wordpiece(const JsonField& part) {
  auto decoder = std::make_unique<WordPieceDecoder>();
  decoder->prefix = part.string_or("prefix", decoder->prefix);
  decoder->cleanup = part.boolean_or("cleanup", true);
  return decoder;
}

std::unique_ptr<Decoder> make_metaspace(const JsonField& part) {
  const auto metaspace = tokenizers::make_metaspace(part);
  auto decoder = std::make_unique<MetaspaceDecoder>();
  decoder->replacement = metaspace->replacement;
  decoder->drops_first = metaspace->prepend != Metaspace::Prepend::never;
  return decoder;
}

}  // namespace decoder_detail

std::string Decoder::text(std::vector<std::string> tokens) const {
  std::string out;
  for (const auto& part : apply(std::move(tokens))) out += part;
  return out;
}

std::vector<std::string> JoinDecoder::apply(std::vector<std::string> tokens) const {
  for (size_t i = 1; i < tokens.size(); ++i) tokens[i].insert(0, 1, ' ');
  return tokens;
}

std::vector<std::string> WordPieceDecoder::apply(std::vector<std::string> tokens) const {
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i > 0) token = token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
    if (cleanup) decoder_detail::clean_up(token);
  }
  return tokens;
}

std::vector<std::string> ByteLevelDecoder::apply(std::vector<std::string> tokens) const {
  std::string bytes;
  for (const auto& token : tokens) bytes += letters_to_bytes(token).value_or(token);
  return {decoder_detail::repaired(bytes)};
}

std::vector<std::string> MetaspaceDecoder::apply(std::vector<std::string> tokens) const {
  std::string mark;
  append_utf8(mark, replacement);
  for (size_t i = 0; i < tokens.size(); ++i) decoder_detail::replace_all(tokens[i], mark, i == 0 && drops_first ? "" : " ");
  return tokens;
}

std::unique_ptr<Decoder> make_decoder(const JsonField& part) {
  namespace detail = decoder_detail;
  const std::string type = part.at("type").string();
  if (type == "WordPiece") return detail::make_wordpiece(part);
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "Metaspace") return detail::make_metaspace(part);
  if (type == "ByteFallback") return std::make_unique<detail::ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<detail::FuseDecoder>();
  if (type == "Strip") return detail::make_strip(part);
  if (type == "Replace") return detail::make_replace(part);
  if (type == "CTC") return detail::make_ctc(part);
  if (type == "BPEDecoder") {
    auto decoder = std::make_unique<detail::BpeDecoder>();
    decoder->suffix = part.string_or("suffix", decoder->suffix);
    return decoder;
  }
  if (type == "Sequence") {
    auto sequence = std::make_unique<detail::DecoderSequence>();
    for (const auto& step : part.at("decoders").list()) sequence->steps.push_back(make_decoder(step));
    return sequence;
  }
  fail_unsupported(part, type, detail::kSupported);
}

}  // namespace zoo::tokenizers
