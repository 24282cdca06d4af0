#include "tokenizers/tokenizer_config.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <stdexcept>

#include "tokenizers/json_fields.h"

namespace zoo::tokenizers {
namespace config_detail {

constexpr uintmax_t kLargestFile = uintmax_t{1} << 30;
// Python writes int(1e30) for "no limit"; nothing above this is meant as a length.
constexpr double kLargestLength = 1e9;

struct Role {
  const char* key;
  std::string SpecialNames::* name;
};
constexpr Role kRoles[] = {{"bos_token", &SpecialNames::bos},
                           {"eos_token", &SpecialNames::eos},
                           {"unk_token", &SpecialNames::unk},
                           {"sep_token", &SpecialNames::sep},
                           {"pad_token", &SpecialNames::pad},
                           {"cls_token", &SpecialNames::cls},
                           {"mask_token", &SpecialNames::mask}};

/// Runs `read` on the parsed file, when there is one, and puts the file's name before any complaint.
template <typename Read>
void with_json(const std::filesystem::path& path, Read read) {
  if (!std::filesystem::exists(path)) return;
  try {
    const Json document = parse_json(read_text_file(path));
    read(JsonField(document, ""));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": " + error.what());
  }
}

/// "[MASK]" or {"content": "[MASK]", "lstrip": true, ...}
AddedToken read_special(const JsonField& field) {
  AddedToken token;
  token.special = true;
  token.normalized = false;
  if (field.value().is_string()) {
    token.content = field.string();
    return token;
  }
  token.content = field.at("content").string();
  token.single_word = field.boolean_or("single_word", false);
  token.lstrip = field.boolean_or("lstrip", false);
  token.rstrip = field.boolean_or("rstrip", false);
  token.normalized = field.boolean_or("normalized", false);
  return token;
}

void read_roles(const JsonField& root, SpecialNames& names, std::map<std::string, AddedToken>& special) {
  for (const auto& role : kRoles) {
    if (!root.has(role.key)) continue;
    const auto token = read_special(root.at(role.key));
    if (token.content.empty()) root.at(role.key).fail("a token of at least one character");
    names.*role.name = token.content;
    special[token.content] = token;
  }
}

void read_extra(const JsonField& root, std::map<std::string, AddedToken>& special) {
  for (const auto* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!root.has(key) || !root.at(key).value().is_array()) continue;
    for (const auto& entry : root.at(key).list()) {
      const auto token = read_special(entry);
      special[token.content] = token;
    }
  }
}

/// {"103": {"content": "[MASK]", "special": true, ...}, ...}
std::vector<AddedToken> read_added_decoder(const JsonField& decoder) {
  std::map<unsigned long, AddedToken> by_id;
  for (const auto& [id, value] : decoder.object()) {
    const JsonField field(value, decoder.path() + "." + id);
    const bool digits =
        !id.empty() && id.size() < 11 &&
        std::all_of(id.begin(), id.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
    if (!digits) field.fail("a token under its id, an integer");
    auto token = read_special(field);
    token.special = field.boolean_or("special", false);
    token.normalized = field.boolean_or("normalized", !token.special);
    by_id[std::stoul(id)] = token;
  }
  std::vector<AddedToken> out;
  for (const auto& [id, token] : by_id) out.push_back(token);
  return out;
}

/// The old added_tokens.json: {"text": id, ...}
std::vector<AddedToken> read_added_legacy(const JsonField& root, const std::map<std::string, AddedToken>& special) {
  std::map<uint32_t, AddedToken> by_id;
  for (const auto& [content, id] : root.object()) {
    auto& token = by_id[JsonField(id, content).id()];
    const auto found = special.find(content);
    if (found != special.end()) token = found->second;
    token.content = content;
  }
  std::vector<AddedToken> out;
  for (const auto& [id, token] : by_id) out.push_back(token);
  return out;
}

size_t read_max_length(const JsonField& root) {
  const auto field = root.at("model_max_length");
  if (!field.value().is_number()) field.fail("a number of tokens");
  const auto length = field.value().get<double>();
  if (!(length >= 1)) field.fail("at least 1");
  return length > kLargestLength ? std::numeric_limits<size_t>::max() : static_cast<size_t>(length);
}

bool reads_left(const JsonField& root, const std::string& key) {
  const std::string side = root.string_or(key, "right");
  if (side != "left" && side != "right") root.at(key).fail("\"left\" or \"right\"");
  return side == "left";
}

void read_main(const JsonField& root, TokenizerConfig& config, std::map<std::string, AddedToken>& special) {
  config.tokenizer_class = root.string_or("tokenizer_class", "");
  config.do_lower_case = root.optional_boolean("do_lower_case");
  config.strip_accents = root.optional_boolean("strip_accents");
  config.tokenize_chinese_chars = root.optional_boolean("tokenize_chinese_chars");
  if (root.has("model_max_length")) config.model_max_length = read_max_length(root);
  if (root.has("added_tokens_decoder")) config.added = read_added_decoder(root.at("added_tokens_decoder"));
  config.add_prefix_space = root.optional_boolean("add_prefix_space");
  config.add_bos_token = root.optional_boolean("add_bos_token");
  config.add_eos_token = root.optional_boolean("add_eos_token");
  config.keep_accents = root.optional_boolean("keep_accents");
  if (root.has("extra_ids")) config.extra_ids = root.at("extra_ids").id();
  config.source_language = root.string_or("src_lang", "");
  config.truncate_left = reads_left(root, "truncation_side");
  config.pad_left = reads_left(root, "padding_side");
  read_roles(root, config.names, special);
  read_extra(root, special);
}

/// The class that transformers takes for a network when no tokenizer_class is given.
std::string class_for_network(const std::string& model_type) {
  static const std::map<std::string, std::string> classes = {
      {"albert", "AlbertTokenizer"}, {"bart", "BartTokenizer"}, {"bert", "BertTokenizer"}, {"gpt2", "GPT2Tokenizer"},
      {"mbart", "MBartTokenizer"}, {"mpnet", "MPNetTokenizer"}, {"mt5", "T5Tokenizer"}, {"roberta", "RobertaTokenizer"},
      {"t5", "T5Tokenizer"}, {"xlm-roberta", "XLMRobertaTokenizer"}};
  const auto found = classes.find(model_type);
  return found == classes.end() ? "" : found->second;
}

}  // namespace config_detail

std::string tokenizer_class_of(const std::filesystem::path& folder) {
  namespace detail = config_detail;
  std::string name;
  detail::with_json(folder / "tokenizer_config.json", [&](const JsonField& root) { name = root.string_or("tokenizer_class", ""); });
  if (name.empty()) {
    detail::with_json(folder / "config.json", [&](const JsonField& root) {
      name = root.string_or("tokenizer_class", detail::class_for_network(root.string_or("model_type", "")));
    });
  }
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}


std::string read_text_file(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path))
    throw std::runtime_error(path.string() + ": not a regular file");
  const auto size = std::filesystem::file_size(path);
  if (size > config_detail::kLargestFile) {
    throw std::runtime_error(path.string() + ": has " + std::to_string(size) +
                             " bytes; a tokenizer file has at most 1 GiB");
  }
  std::string text(size, '\0');
  std::ifstream file(path, std::ios::binary);
  if (!file.read(text.data(), static_cast<std::streamsize>(size)))
    throw std::runtime_error(path.string() + ": cannot be read");
  return text;
}

TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder, const SpecialNames& names) {
  namespace detail = config_detail;
  TokenizerConfig config;
  config.names = names;
  std::map<std::string, AddedToken> special;
  detail::with_json(folder / "tokenizer_config.json",
                    [&](const JsonField& root) { detail::read_main(root, config, special); });
  const bool modern = !config.added.empty();  // then the two older files repeat it at best
  if (!modern) {
    detail::with_json(folder / "special_tokens_map.json", [&](const JsonField& root) {
      detail::read_roles(root, config.names, special);
      detail::read_extra(root, special);
    });
    detail::with_json(folder / "added_tokens.json",
                      [&](const JsonField& root) { config.added = detail::read_added_legacy(root, special); });
  }
  const auto add = [&](const std::string& content) {
    const auto same = [&](const AddedToken& token) { return token.content == content; };
    if (content.empty() || std::any_of(config.added.begin(), config.added.end(), same)) return;
    config.added.push_back(special.at(content));
  };
  for (const auto& role : detail::kRoles)
    if (special.contains(config.names.*role.name)) add(config.names.*role.name);
  for (const auto& [content, token] : special) add(content);
  return config;
}

}  // namespace zoo::tokenizers
