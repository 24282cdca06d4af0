#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "tokenizers/byte_alphabet.h"
#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/utf8.h"
#include "tokenizers/vocabulary_training.h"

namespace zoo::tokenizers {
namespace bpe_training_detail {

using Pair = std::pair<uint32_t, uint32_t>;

struct PairHash {
  size_t operator()(const Pair& pair) const { return std::hash<uint64_t>()(uint64_t{pair.first} << 32 | pair.second); }
};

struct Word {
  std::vector<uint32_t> ids;
  int64_t count = 0;
};

/// A pair that may be joined next, and the words that it is in. The count may be out of date.
struct Candidate {
  Pair pair;
  int64_t count = 0;
  std::vector<uint32_t> words;

  bool operator<(const Candidate& other) const { return count != other.count ? count < other.count : pair > other.pair; }
};

std::string letter_of(uint8_t byte) {
  std::string text;
  append_utf8(text, byte_to_letter(byte));
  return text;
}

/// How often each word, in bytes, is in the texts. Sorted, so that nothing depends on a hash table's order.
std::vector<std::pair<std::string, int64_t>> count_words(std::span<const std::string> texts) {
  std::unordered_map<std::string, int64_t> counts;
  ByteLevel level;
  level.add_prefix_space = false;
  level.spell = false;
  for (const auto& text : texts) {
    Pieces pieces{AlignedText(text), {}};
    if (pieces.text.empty()) continue;
    pieces.spans = {{0, pieces.text.text().size()}};
    level.apply(pieces);
    for (const auto& span : pieces.spans) ++counts[pieces.text.text().substr(span.begin, span.end - span.begin)];
  }
  std::vector<std::pair<std::string, int64_t>> words(counts.begin(), counts.end());
  std::sort(words.begin(), words.end());
  return words;
}

class Trainer {
 public:
  explicit Trainer(const std::vector<std::string>& first) {
    for (const auto& token : first) id_of(token);
    std::vector<std::pair<char32_t, uint8_t>> letters;
    for (int byte = 0; byte < 256; ++byte) letters.emplace_back(byte_to_letter(static_cast<uint8_t>(byte)), static_cast<uint8_t>(byte));
    std::sort(letters.begin(), letters.end());
    for (const auto& [letter, byte] : letters) letter_ids_[byte] = id_of(letter_of(byte));
  }

  TrainedBpe run(std::span<const std::string> texts, size_t vocab_size, int64_t min_frequency) {
    read(texts);
    while (trained_.tokens.size() < vocab_size && !queue_.empty()) {
      Candidate top = queue_.top();
      queue_.pop();
      const int64_t now = counts_.at(top.pair);
      if (top.count != now) {
        top.count = now;
        queue_.push(std::move(top));
        continue;
      }
      if (top.count < std::max<int64_t>(min_frequency, 1)) break;
      join(top);
    }
    return std::move(trained_);
  }

 private:
  uint32_t id_of(const std::string& token) {
    const auto [found, added] = ids_.emplace(token, static_cast<uint32_t>(trained_.tokens.size()));
    if (added) trained_.tokens.push_back(token);
    return found->second;
  }

  void read(std::span<const std::string> texts) {
    std::unordered_map<Pair, std::vector<uint32_t>, PairHash> places;
    for (const auto& [text, count] : count_words(texts)) {
      Word word{{}, count};
      for (const char byte : text) word.ids.push_back(letter_ids_[static_cast<uint8_t>(byte)]);
      const auto number = static_cast<uint32_t>(words_.size());
      for (size_t i = 0; i + 1 < word.ids.size(); ++i) note(places, {word.ids[i], word.ids[i + 1]}, count, number);
      words_.push_back(std::move(word));
    }
    for (auto& [pair, words] : places) queue_.push({pair, counts_.at(pair), std::move(words)});
  }

  void note(std::unordered_map<Pair, std::vector<uint32_t>, PairHash>& places, const Pair& pair, int64_t count, uint32_t word) {
    counts_[pair] += count;
    auto& words = places[pair];
    if (words.empty() || words.back() != word) words.push_back(word);
  }

  void join(const Candidate& best) {
    const std::string left = trained_.tokens[best.pair.first], right = trained_.tokens[best.pair.second];
    // Where a token can be made in two ways, a pair may come back with words that it has got since.
    if (joined_.insert(best.pair).second) trained_.merges.emplace_back(left, right);
    const uint32_t made = id_of(left + right);
    std::unordered_map<Pair, std::vector<uint32_t>, PairHash> places;
    for (const uint32_t number : best.words) join_in(words_[number], best.pair, made, number, places);
    for (auto& [pair, words] : places) queue_.push({pair, counts_.at(pair), std::move(words)});
  }

  void join_in(Word& word, const Pair& pair, uint32_t made, uint32_t number, std::unordered_map<Pair, std::vector<uint32_t>, PairHash>& places) {
    std::vector<uint32_t> out;
    for (size_t i = 0; i < word.ids.size(); ++i) {
      if (i + 1 == word.ids.size() || word.ids[i] != pair.first || word.ids[i + 1] != pair.second) {
        out.push_back(word.ids[i]);
        continue;
      }
      counts_[pair] -= word.count;
      if (!out.empty()) {
        counts_[{out.back(), pair.first}] -= word.count;
        note(places, {out.back(), made}, word.count, number);
      }
      if (i + 2 < word.ids.size()) {
        counts_[{pair.second, word.ids[i + 2]}] -= word.count;
        note(places, {made, word.ids[i + 2]}, word.count, number);
      }
      out.push_back(made);
      ++i;
    }
    word.ids = std::move(out);
  }

  TrainedBpe trained_;
  std::unordered_map<std::string, uint32_t> ids_;
  uint32_t letter_ids_[256] = {};
  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t, PairHash> counts_;
  std::unordered_set<Pair, PairHash> joined_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace bpe_training_detail

TrainedBpe train_bpe(std::span<const std::string> texts, const std::vector<std::string>& first, int64_t vocab_size, int64_t min_frequency) {
  return bpe_training_detail::Trainer(first).run(texts, static_cast<size_t>(std::max<int64_t>(vocab_size, 0)), min_frequency);
}

}  // namespace zoo::tokenizers
