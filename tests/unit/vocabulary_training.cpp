// Vocabularies made of texts, and what follows from a tokenizer for the config of a fresh network.
#include <algorithm>
#include <numeric>

#include "app/cli.h"
#include "app/engine/tokenizer_choice.h"
#include "app/engine/training_setup.h"
#include "models/registry.h"
#include "tests/catch.h"
#include "tests/cli/program.h"
#include "tests/unit/tokenizers_support.h"
#include "tokenizers/vocabulary_training.h"

namespace vocabulary_training_tests {
using namespace zoo::tokenizers;
using zoo::Json;
using tokenizer_tests::TemporaryFolder;
using zoo::test::has;
using zoo::test::message_of;

// Sentences of made-up words: enough of them for some hundred pieces.
std::vector<std::string> sentences() {
  const std::vector<std::string> parts{"ka", "lo", "mi", "ner", "tu", "sa", "vor", "pel", "ding", "rust"};
  std::vector<std::string> texts;
  uint64_t x = 7;
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (int word = 0; word < 6; ++word) {
      if (word > 0) text += " ";
      for (int part = 0; part < 2; ++part) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        text += parts[(x >> 33) % parts.size()];
      }
    }
    texts.push_back(text + ".");
  }
  return texts;
}

std::unique_ptr<Tokenizer> made(const TemporaryFolder& folder, const std::vector<std::string>& texts, const VocabularyPlan& plan, VocabularyStyle style) {
  for (const auto& [name, content] : train_vocabulary(texts, plan, style)) folder.write(name, content);
  return load(folder.path);
}

bool has_sentencepiece() {
  VocabularyPlan plan;
  plan.vocab_size = 60;
  return !has(message_of([&] { train_vocabulary(sentences(), plan, VocabularyStyle::t5); }), "built without SentencePiece");
}

// tokenizers 0.23: BpeTrainer(vocab_size=281, min_frequency=2, special_tokens=["<|endoftext|>"], initial_alphabet=ByteLevel.alphabet()).
TEST_CASE("byte-level BPE is trained as the reference trains it", "[tokenizers][vocabulary]") {
  const std::vector<std::string> texts{"the cat sat on the mat", "the cats sat on the mats", "aaaa aaa aa a", "it's the caf\u00e9's caf\u00e9",
                                       "don't  count 1999 or 199", "\tif (x == x) {x}\n", "the then they"};
  const std::string expected = "h e|t he|a a|a t|\u0120 c|\u0120 the|9 9|o n|' s|1 99|a f|m at|s at|\u00c3 \u00a9|\u0120 aa|\u0120 on|\u0120 199|\u0120 mat|\u0120 sat|\u0120c at|\u0120c af|\u0120caf \u00c3\u00a9|";
  const TrainedBpe trained = train_bpe(texts, {"<|endoftext|>"}, 281, 2);
  std::string merges;
  for (const auto& [left, right] : trained.merges) merges += left + " " + right + "|";
  CHECK(merges == expected);
  REQUIRE(trained.tokens.size() == 279);
  CHECK(trained.tokens[0] == "<|endoftext|>");
  CHECK(trained.tokens[1] == "!");
  CHECK(trained.tokens[257] == "he");
  CHECK(train_bpe(texts, {"<|endoftext|>"}, 260, 2).merges.size() == 3);
}

TEST_CASE("a made byte-level vocabulary keeps every text", "[tokenizers][vocabulary]") {
  VocabularyPlan plan;
  plan.kind = "bpe";
  plan.vocab_size = 300;
  for (const auto style : {VocabularyStyle::t5, VocabularyStyle::bart, VocabularyStyle::gpt2}) {
    const TemporaryFolder folder;
    const auto tokenizer = made(folder, sentences(), plan, style);
    CHECK(tokenizer->vocab_size() == 300);
    const std::string text = "kalo\n\tminer  \u00e9\U0001F600";
    CHECK(tokenizer->decode(tokenizer->encode(text).ids) == text);
    if (style == VocabularyStyle::gpt2) {
      CHECK(tokenizer->eos_id() == 0);
      continue;
    }
    CHECK(tokenizer->pad_id() == (style == VocabularyStyle::t5 ? 0 : 1));
    CHECK(tokenizer->encode(text).ids.back() == 2);
  }
}

TEST_CASE("a made unigram vocabulary has its network's special tokens, and is made alike each time", "[tokenizers][vocabulary]") {
  NEEDS(has_sentencepiece(), "a build with SentencePiece's trainer");
  VocabularyPlan plan;
  plan.vocab_size = 80;
  const auto texts = sentences();
  const TemporaryFolder t5, bart;
  const auto for_t5 = made(t5, texts, plan, VocabularyStyle::t5), for_bart = made(bart, texts, plan, VocabularyStyle::bart);
  CHECK(for_t5->vocab_size() == 80);
  CHECK(for_bart->vocab_size() == 80);
  CHECK((for_t5->pad_id() == 0 && for_t5->eos_id() == 1 && for_t5->unk_id() == 2 && !for_t5->bos_id()));
  CHECK((for_bart->bos_id() == 0 && for_bart->pad_id() == 1 && for_bart->eos_id() == 2 && for_bart->unk_id() == 3 && for_bart->mask_id() == 79));
  for (const auto* tokenizer : {for_t5.get(), for_bart.get()}) {
    const auto ids = tokenizer->encode(texts[3]).ids;
    CHECK(ids.back() == tokenizer->eos_id());
    CHECK(ids.size() < 40);  // pieces, not characters
    CHECK(tokenizer->decode(ids) == texts[3]);
  }
  CHECK(train_vocabulary(texts, plan, VocabularyStyle::t5) == train_vocabulary(texts, plan, VocabularyStyle::t5));
}

TEST_CASE("a vocabulary that cannot be made is refused with the numbers", "[tokenizers][vocabulary]") {
  const auto texts = sentences();
  const auto says = [&](const char* kind, int64_t size, VocabularyStyle style = VocabularyStyle::t5) {
    VocabularyPlan plan;
    plan.kind = kind, plan.vocab_size = size;
    return message_of([&] { train_vocabulary(texts, plan, style); });
  };
  CHECK(has(says("bpe", 100), "vocab_size is 100; expected 261 (5 special tokens and the 256 bytes)"));
  CHECK(has(says("bpe", 100000), "the 300 texts give "));
  CHECK(has(says("unigram", 3), "vocab_size is 3; expected 4 (3 special tokens and a piece)"));
  CHECK(has(says("wordpiece", 300), "'wordpiece' is no kind of vocabulary; expected one of unigram, bpe"));
  CHECK(has(says("unigram", 300, VocabularyStyle::gpt2), "expected kind bpe"));
  VocabularyPlan plan;
  CHECK(has(message_of([&] { train_vocabulary(std::vector<std::string>{"", ""}, plan, VocabularyStyle::t5); }), "no texts"));
  plan.normalization = "nfd";
  CHECK(has(message_of([&] { train_vocabulary(texts, plan, VocabularyStyle::t5); }), "normalization is 'nfd'"));
  NEEDS(has_sentencepiece(), "a build with SentencePiece's trainer");
  CHECK(has(says("unigram", 100000), "tokens only; vocab_size is 100000"));
  CHECK(has(says("unigram", 10), "smaller than required_chars"));
}

TEST_CASE("a fresh network's config follows from its tokenizer", "[engine][vocabulary]") {
  using zoo::app::config_for_tokenizer;
  VocabularyPlan plan;
  plan.kind = "bpe", plan.vocab_size = 300;
  const TemporaryFolder t5, bart, gpt2;
  const auto for_t5 = made(t5, sentences(), plan, VocabularyStyle::t5), for_bart = made(bart, sentences(), plan, VocabularyStyle::bart),
             for_gpt2 = made(gpt2, sentences(), plan, VocabularyStyle::gpt2);
  const auto config = [](const char* network, const char* variant = "tiny") { return zoo::variant_config(zoo::find_entry(network), variant); };
  CHECK(config_for_tokenizer(*for_t5, config("t5"), {}) ==
        Json({{"vocab_size", 300}, {"pad_token_id", 0}, {"eos_token_id", 2}, {"bos_token_id", 1}, {"decoder_start_token_id", 0}}));
  // BART's decoder begins with the end, whatever its id.
  CHECK(config_for_tokenizer(*for_t5, config("bart"), {}).at("decoder_start_token_id") == 2);
  CHECK(config_for_tokenizer(*for_bart, config("t5"), {}).at("decoder_start_token_id") == 1);
  CHECK(config_for_tokenizer(*for_gpt2, config("gpt2"), {}) == Json({{"vocab_size", 300}, {"eos_token_id", 0}, {"bos_token_id", 0}}));
  const Json both = config_for_tokenizer(*for_bart, config("encoder_decoder", "tiny-roberta"), {});
  CHECK(both.at("encoder").at("vocab_size") == 300);
  CHECK(both.at("decoder").at("pad_token_id") == 1);
  CHECK(both.at("decoder_start_token_id") == 0);
  // What the recipe says stays.
  const Json given{{"vocab_size", 320}, {"decoder_start_token_id", 1}};
  const Json kept = config_for_tokenizer(*for_t5, config("t5"), given);
  CHECK((!kept.contains("vocab_size") && !kept.contains("decoder_start_token_id")));
  const auto says = [&](const Tokenizer& tokenizer, const char* network, const Json& keys) {
    return message_of([&] { config_for_tokenizer(tokenizer, config(network), keys); });
  };
  CHECK(has(says(*for_t5, "t5", {{"vocab_size", 299}}), "config.vocab_size is 299, but the tokenizer has 300 tokens"));
  CHECK(has(says(*for_t5, "t5", {{"pad_token_id", 300}}), "config.pad_token_id is 300; expected an id from 0 to 299"));
  CHECK(has(says(*for_gpt2, "t5", {}), "no token for padding"));
  CHECK(has(says(*for_t5, "t5", {{"eos_token_id", 5}}), "never learn to end"));
}

// Only what batches by length ask for.
struct Lengths : zoo::app::Dataset {
  std::vector<int64_t> lengths;
  int64_t size() const override { return static_cast<int64_t>(lengths.size()); }
  zoo::Tensors get(std::span<const int64_t>, bool, uint64_t) const override { return {}; }
  int64_t length(int64_t index) const override { return lengths[static_cast<size_t>(index)]; }
};

TEST_CASE("batches by length hold every example once, waste little, and depend on the seed alone", "[engine]") {
  using zoo::app::group_by_length;
  constexpr int64_t kExamples = 1003, kSize = 10;
  Lengths data;
  for (int64_t i = 0; i < kExamples; ++i) data.lengths.push_back(1 + (i * 7919) % 60);
  std::vector<int64_t> shuffled(kExamples);
  std::iota(shuffled.begin(), shuffled.end(), int64_t{0});
  zoo::app::shuffle(shuffled, 4);
  auto order = shuffled, again = shuffled, other = shuffled;
  group_by_length(order, data, kSize, 9);
  group_by_length(again, data, kSize, 9);
  group_by_length(other, data, kSize, 10);
  CHECK(order == again);
  CHECK(order != other);
  const auto padded = [&](const std::vector<int64_t>& indices) {
    int64_t sum = 0;
    for (int64_t begin = 0; begin < kExamples; begin += kSize) {
      int64_t longest = 0;
      const int64_t end = std::min(begin + kSize, kExamples);
      for (int64_t i = begin; i < end; ++i) longest = std::max(longest, data.length(indices[static_cast<size_t>(i)]));
      sum += longest * (end - begin);
    }
    return sum;
  };
  const int64_t least = std::accumulate(data.lengths.begin(), data.lengths.end(), int64_t{0});
  CHECK(padded(order) < least * 11 / 10);
  CHECK(padded(shuffled) > least * 3 / 2);
  // Not from long to short: the first tenth of the batches is about as long as all.
  int64_t first = 0;
  for (int64_t i = 0; i < kExamples / 5; ++i) first += data.length(order[static_cast<size_t>(i)]);
  CHECK(std::abs(5 * first - least) < least / 3);
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < kExamples; ++i) REQUIRE(order[static_cast<size_t>(i)] == i);
}

}  // namespace vocabulary_training_tests
