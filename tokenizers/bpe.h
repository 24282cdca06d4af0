// Byte-pair encoding: the characters of a word are joined, the pair learnt first before the others ("Neural Machine
// Translation of Rare Words with Subword Units", Sennrich et al., 2016), in the variants of the reference: over bytes
// (GPT-2), with single bytes for unknown characters (Llama), with marks for the inside or the end of a word.
#pragma once

#include <atomic>
#include <memory>

#include "tokenizers/model.h"
#include "tokenizers/string_table.h"
#include "tokenizers/vocabulary.h"

namespace zoo::tokenizers {

class Bpe final : public Model {
 public:
  struct Options {
    std::string unk_token;                  // empty: characters without a token are left out
    std::string continuing_subword_prefix;  // before every character but a word's first
    std::string end_of_word_suffix;         // after a word's last
    bool fuse_unk = false;                  // one unknown token for several unknown characters in a row
    bool byte_fallback = false;             // <0x0A> ... for a character without a token
    bool ignore_merges = false;             // a word of the vocabulary is one token, whatever the merges
    std::vector<std::string> always_whole;  // these words of the vocabulary are
  };
  using Merges = std::vector<std::pair<std::string, std::string>>;

  /// Throws std::runtime_error when a merge is made of, or makes, a token that the vocabulary does not have, or when
  /// the unknown token is not in it.
  Bpe(std::vector<std::pair<std::string, uint32_t>> vocab, const Merges& merges, Options options);

  /// From now on words are plain text rather than text in the byte alphabet: the same tokens, several times faster.
  /// False, and nothing changes, when the vocabulary lacks one of the 256 letters or an option forbids it.
  bool work_on_bytes();

  void tokenize(std::string_view word, std::vector<Token>& out) const override;
  std::optional<uint32_t> token_to_id(std::string_view token) const override { return vocab_.find(token); }
  std::optional<std::string> id_to_token(uint32_t id) const override;
  size_t size() const override { return vocab_.size(); }
  std::string unknown_token() const override { return options_.unk_token; }
  bool works_on_bytes() const { return on_bytes_; }

 private:
  struct Merge {
    uint32_t rank, id;
  };
  struct MergeSlot {
    uint64_t pair;
    Merge merge;
  };
  struct Symbol {
    uint32_t id;
    uint32_t bytes;
  };
  enum Known : uint8_t { unseen, whole, in_parts };  // how a word of the vocabulary comes out

  void add_merge(uint32_t left, uint32_t right, Merge merge);
  void read_merges(const Merges& merges);
  const Merge* find_merge(uint32_t left, uint32_t right) const;
  void first_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  bool fall_back_to_bytes(std::string_view character, std::vector<Symbol>& symbols) const;
  void join_short(std::vector<Symbol>& symbols) const;
  void join_long(std::vector<Symbol>& symbols) const;
  void split(std::string_view word, std::vector<Token>& out) const;

  Options options_;
  Vocabulary vocab_;
  std::vector<MergeSlot> merges_;  // open addressing, a power of two
  uint32_t unknown_ = 0;
  StringTable words_;                                // word -> index into the two below
  std::vector<uint32_t> word_ids_;
  std::unique_ptr<std::atomic<uint8_t>[]> known_;    // Known of each word, found out when it is first met
  bool on_bytes_ = false;
  std::vector<std::string> byte_words_;              // of words_ when on_bytes_
  std::vector<uint32_t> byte_ids_;                   // token of each byte when on_bytes_
  std::vector<uint32_t> fallback_ids_;               // <0x00> ... <0xFF>; StringTable::kNone where missing
};

/// From the `model` of a tokenizer.json.
std::unique_ptr<Model> make_bpe(const JsonField& part);

}  // namespace zoo::tokenizers
