// One reader for each kind of tokenizer file.
#pragma once

#include <filesystem>
#include <memory>

#include "tokenizers/tokenizer.h"

namespace zoo::tokenizers {

/// The serialisation of the Hugging Face `tokenizers` library. Its truncation and padding sections belong to how the file
/// was last used, not to the tokenizer: callers find them in saved_truncation() and saved_padding().
std::unique_ptr<Tokenizer> read_tokenizer_json(const std::filesystem::path& path);

/// BERT's plain vocabulary, one token a line.
std::unique_ptr<Tokenizer> read_vocab_txt(const std::filesystem::path& path);

/// Byte-level BPE as GPT-2, RoBERTa, BART and CodeT5 publish it: {token: id} and one merge a line.
std::unique_ptr<Tokenizer> read_vocab_merges(const std::filesystem::path& vocab_file, const std::filesystem::path& merges_file);

/// A SentencePiece model in the convention of the tokenizer class that the folder names (T5, ALBERT, XLM-RoBERTa, mBART);
/// without one, the ids and the text handling of SentencePiece itself.
std::unique_ptr<Tokenizer> read_sentencepiece(const std::filesystem::path& path);

}  // namespace zoo::tokenizers
