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
  SpecialNames names{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  std::vector<AddedToken> added;  // in the order of their ids, then the special tokens that the files name
  size_t model_max_length = std::numeric_limits<size_t>::max();
};

/// Reads what is there in `folder`; missing files leave the defaults. Throws std::runtime_error that names
/// the file. `never_split` and `do_basic_tokenize` are settings of the slow Python tokenizer; the fast one
/// ignores them, and so does this.
TokenizerConfig read_tokenizer_config(const std::filesystem::path& folder);

/// The whole of a regular file. Throws std::runtime_error when it cannot be read or is larger than 1 GiB.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace zoo::tokenizers
