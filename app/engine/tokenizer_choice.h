// The tokenizer of a network that is trained from fresh weights: what a recipe's key "tokenizer" says, and its files in the run's folder.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/model.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/vocabulary_training.h"

namespace zoo::app {

// One of: nothing; a path; two files of a byte-level BPE; a vocabulary to be made of the training texts.
struct TokenizerChoice {
  std::string path;           // a folder with a tokenizer's files, or one of: tokenizer.json, a SentencePiece model, vocab.txt,
                              // NAMEvocab.json beside NAMEmerges.txt
  std::string vocab, merges;
  bool trained = false;
  tokenizers::VocabularyPlan plan;

  bool empty() const { return path.empty() && vocab.empty() && !trained; }
};

// Writes the files into run/tokenizer as a Hugging Face folder has them, complete or not at all; what an earlier sitting left there
// stays, and neither the recipe's files nor `texts` are looked at again. `texts` gives the training texts. `network` decides the special
// tokens of a vocabulary that is made. Throws UsageError: files that are no tokenizer, a vocabulary that cannot be made.
void place_tokenizer(const TokenizerChoice& choice, const Entry& network, const std::filesystem::path& run,
                     const std::function<std::vector<std::string>()>& texts);
std::filesystem::path tokenizer_folder_of(const std::filesystem::path& run);

// What follows from a tokenizer for the config of a fresh network: vocab_size, pad_token_id, eos_token_id, bos_token_id and
// decoder_start_token_id, which plays the part that it plays in `config`, the variant's. `given`: the keys that the recipe itself sets,
// which stay. Throws UsageError: an embedding that is smaller than the vocabulary, a special token that the network needs and the
// tokenizer lacks, a tokenizer that does not end texts for a network that must learn to end them.
Json config_for_tokenizer(const tokenizers::Tokenizer& tokenizer, const Json& config, const Json& given);

}  // namespace zoo::app
