// What tokenizer_config.json, special_tokens_map.json and added_tokens.json say beside a vocabulary.
#pragma once

#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tokenizers/added_tokens.h"
#include "tokenizers/pipeline.h"

namespace zoo::tokenizers {

struct TokenizerConfig {
  std::string tokenizer_class;
  std::optional<bool> do_lower_case, strip_accents, tokenize_chinese_chars;  // empty: not set, or null
  SpecialNames names;
  std::vector<AddedToken> added;  // in the order of their ids, then the special tokens that the files name
  size_t model_max_length = std::numeric_limits<size_t>::max();
  std::optional<bool> add_prefix_space, add_bos_token, add_eos_token, keep_accents;
  std::optional<size_t> extra_ids;  // T5's sentinels
  std::string source_language;      // mBART
  bool truncate_left = false, pad_left = false;
};

/// BERT's names, which stand where the files name no others.
inline const SpecialNames kBertNames{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "", ""};

/// Reads what is there in `folder`; missing files leave the defaults. Throws std::runtime_error that names
/// the file. `never_split` and `do_basic_tokenize` are settings of the slow Python tokenizer; the fast one
/// ignores them, and so does this.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder, const SpecialNames& names = kBertNames);

/// `tokenizer_class` without "Fast"; without one, the class of the network in config.json; empty: neither file says.
std::string tokenizer_class_of(const std::filesystem::path& folder);

/// The whole of a regular file. Throws std::runtime_error when it cannot be read or is larger than 1 GiB.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace zoo::tokenizers
