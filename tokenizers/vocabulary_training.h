// Vocabularies made from texts, as the files of a Hugging Face folder.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace zoo::tokenizers {

struct VocabularyPlan {
  std::string kind = "unigram";       // "unigram": SentencePiece's trainer; "bpe": pairs of bytes (Sennrich et al., 2016, arXiv:1508.07909)
  int64_t vocab_size = 8000;          // of all tokens, special ones included
  double character_coverage = 0.9995; // unigram: the rarest characters beyond this share of the text are unknown
  std::string normalization = "nmt_nfkc";  // unigram: or nfkc, nmt_nfkc_cf, nfkc_cf (lower case), identity
  int64_t min_frequency = 2;          // bpe: pairs that occur less often are not joined
};

/// Whose special tokens, at whose ids, stand in the vocabulary.
///   t5     unigram: <pad> 0, </s> 1, <unk> 2, as T5; bpe: <pad> 0, <s> 1, </s> 2, <unk> 3, <mask> 4, as CodeT5
///   bart   <s> 0, <pad> 1, </s> 2, <unk> 3; <mask> last (unigram, as XLM-RoBERTa) or 4 (bpe, as RoBERTa)
///   gpt2   bpe alone: <|endoftext|> 0
enum class VocabularyStyle { t5, bart, gpt2 };

/// Files by name: spiece.model or sentencepiece.bpe.model, or vocab.json and merges.txt; and tokenizer_config.json. load() of a folder
/// with them is the tokenizer. The same texts and plan give the same bytes. Throws std::invalid_argument: a plan that makes no sense, a
/// vocab_size that the special tokens and characters already fill, texts that give fewer tokens than it (the message says how many);
/// std::runtime_error: built without SentencePiece.
std::map<std::string, std::string> train_vocabulary(std::span<const std::string> texts, const VocabularyPlan& plan, VocabularyStyle style);

/// "unigram", "bpe"; and the names that `normalization` takes.
const std::vector<std::string>& vocabulary_kinds();
const std::vector<std::string>& vocabulary_normalizations();

/// Byte-level BPE as the Hugging Face tokenizers library trains it: words as GPT-2 cuts them, the most frequent pair first, of several
/// the one with the smallest ids. `first` stand at ids 0 ..; then the 256 letters of the byte alphabet; then what the merges make.
struct TrainedBpe {
  std::vector<std::string> tokens;  // by id
  std::vector<std::pair<std::string, std::string>> merges;
};
TrainedBpe train_bpe(std::span<const std::string> texts, const std::vector<std::string>& first, int64_t vocab_size, int64_t min_frequency);

}  // namespace zoo::tokenizers
