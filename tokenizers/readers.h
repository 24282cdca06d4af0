// One reader for each kind of tokenizer file.
#pragma once

#include <filesystem>
#include <memory>

#include "tokenizers/tokenizer.h"

namespace zoo::tokenizers {

/// The serialisation of the Hugging Face `tokenizers` library. Its truncation and padding sections are
/// checked and left to the caller: they belong to how the file was last used, not to the tokenizer.
std::unique_ptr<Tokenizer> read_tokenizer_json(const std::filesystem::path& path);

/// BERT's plain vocabulary, one token a line.
std::unique_ptr<Tokenizer> read_vocab_txt(const std::filesystem::path& path);

}  // namespace zoo::tokenizers
