#include "app/engine/tokenizer_choice.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "app/bundle.h"
#include "app/cli.h"
#include "app/files.h"
#include "models/names.h"
#include "models/registry.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/tokenizer_config.h"
#include "weights/files.h"

namespace zoo::app {
namespace fs = std::filesystem;
namespace tokenizer_choice_detail {

// ---- files that are there ----

[[noreturn]] void not_found(const fs::path& path, const std::string& expected) {
  throw UsageError("recipe: tokenizer: " + path.string() + (on_disk(path) ? " is not " : ": no such file or folder; expected ") + expected);
}

void write_json(const fs::path& file, const Json& json) { weights::write_file_atomically(file, json.dump(2) + "\n"); }

// The class decides how files are read, and a run's folder has another config.json beside them than theirs.
void keep_class(const fs::path& from, const fs::path& to) {
  const std::string name = tokenizers::tokenizer_class_of(from);
  const fs::path file = to / "tokenizer_config.json";
  Json config = on_disk(file) ? read_json(file) : Json::object();
  if (name.empty() || config.contains("tokenizer_class")) return;
  config["tokenizer_class"] = name;
  write_json(file, config);
}

void copy_folder(const fs::path& from, const fs::path& to) {
  if (!holds_tokenizer(from)) not_found(from, "a folder with a tokenizer: one of " + join(tokenizers::tokenizer_files()));
  for (const auto& name : tokenizers::tokenizer_files()) {
    if (on_disk(from / name)) copy_file_atomically(from / name, to / name);
  }
  keep_class(from, to);
}

// Byte-level BPE: RoBERTa's layout where the vocabulary has its special tokens, else GPT-2's.
void copy_pair(const fs::path& vocab, const fs::path& merges, const fs::path& to) {
  for (const auto& file : {vocab, merges}) {
    if (!fs::is_regular_file(file)) not_found(file, "a file of a byte-level BPE: vocab.json and merges.txt");
  }
  copy_file_atomically(vocab, to / "vocab.json");
  copy_file_atomically(merges, to / "merges.txt");
  const auto tokenizer = tokenizers::load(to);
  const bool roberta = tokenizer->token_to_id("<s>") && tokenizer->token_to_id("</s>") && tokenizer->token_to_id("<pad>");
  write_json(to / "tokenizer_config.json", {{"tokenizer_class", roberta ? "RobertaTokenizer" : "GPT2Tokenizer"}});
}

bool begins_with(const tokenizers::SentencePieceModel& model, const std::vector<std::string>& pieces) {
  if (model.pieces.size() < pieces.size()) return false;
  return std::equal(pieces.begin(), pieces.end(), model.pieces.begin(), [](const auto& text, const auto& piece) { return text == piece.text; });
}

// As T5 or XLM-RoBERTa use it, where its first pieces are theirs; else SentencePiece's own ids, and a text ends with </s>.
void copy_sentencepiece(const fs::path& file, const fs::path& to) {
  const auto model = tokenizers::parse_sentencepiece(tokenizers::read_text_file(file));
  const bool unigram = model.kind == tokenizers::SentencePieceModel::unigram;
  if (unigram && begins_with(model, {"<pad>", "</s>", "<unk>"})) {
    copy_file_atomically(file, to / "spiece.model");
    return write_json(to / "tokenizer_config.json", {{"tokenizer_class", "T5Tokenizer"}, {"extra_ids", 0}});
  }
  if (unigram && begins_with(model, {"<unk>", "<s>", "</s>"})) {
    copy_file_atomically(file, to / "sentencepiece.bpe.model");
    return write_json(to / "tokenizer_config.json", {{"tokenizer_class", "XLMRobertaTokenizer"}});
  }
  copy_file_atomically(file, to / "tokenizer.model");
  write_json(to / "tokenizer_config.json", {{"tokenizer_class", "PreTrainedTokenizer"}, {"add_eos_token", true}});
}

// "codet5-vocab.json" -> "codet5-merges.txt", when it is there.
std::optional<fs::path> merges_beside(const fs::path& vocab) {
  const std::string name = vocab.filename().string(), ending = "vocab.json";
  if (!name.ends_with(ending)) return std::nullopt;
  const fs::path merges = vocab.parent_path() / (name.substr(0, name.size() - ending.size()) + "merges.txt");
  return on_disk(merges) ? std::optional(merges) : std::nullopt;
}

void copy_path(const fs::path& path, const fs::path& to) {
  if (fs::is_directory(path)) return copy_folder(path, to);
  if (!fs::is_regular_file(path)) not_found(path, "a folder with a tokenizer, or one of its files");
  if (const auto merges = merges_beside(path)) return copy_pair(path, *merges, to);
  if (path.extension() == ".model") return copy_sentencepiece(path, to);
  const bool json = path.extension() == ".json";
  if (!json && path.extension() != ".txt") not_found(path, "tokenizer.json, a SentencePiece .model, vocab.txt, or a vocab.json with its merges.txt");
  copy_file_atomically(path, to / (json ? "tokenizer.json" : "vocab.txt"));
  if (on_disk(path.parent_path() / "tokenizer_config.json")) copy_file_atomically(path.parent_path() / "tokenizer_config.json", to / "tokenizer_config.json");
  keep_class(path.parent_path(), to);
}

// ---- a vocabulary of the training texts ----

tokenizers::VocabularyStyle style_for(const Entry& network) {
  if (network.name == "t5") return tokenizers::VocabularyStyle::t5;
  return network.name == "gpt2" ? tokenizers::VocabularyStyle::gpt2 : tokenizers::VocabularyStyle::bart;
}

void make_vocabulary(const tokenizers::VocabularyPlan& plan, const Entry& network, const fs::path& to, const std::function<std::vector<std::string>()>& texts) {
  const auto start = std::chrono::steady_clock::now();
  const auto all = texts();
  spdlog::info("making a vocabulary of {} tokens ({}) of {} training texts", plan.vocab_size, plan.kind, all.size());
  for (const auto& [name, content] : tokenizers::train_vocabulary(all, plan, style_for(network))) weights::write_file_atomically(to / name, content);
  spdlog::debug("that took {:.1f} s", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

void write_files(const TokenizerChoice& choice, const Entry& network, const fs::path& to, const std::function<std::vector<std::string>()>& texts) {
  try {
    if (choice.trained) make_vocabulary(choice.plan, network, to, texts);
    else if (!choice.vocab.empty()) copy_pair(choice.vocab, choice.merges, to);
    else copy_path(choice.path, to);
    tokenizers::load(to);  // a file that is none is told before anything else is done
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& error) {
    throw UsageError(std::string("recipe: tokenizer: ") + error.what());
  }
}

// ---- the network's config ----

int64_t size_of(const tokenizers::Tokenizer& tokenizer) {
  int64_t size = tokenizer.vocab_size();  // more where ids are left out
  try {
    for (;; ++size) tokenizer.id_to_token(size);
  } catch (const std::out_of_range&) {
    return size;
  }
}

struct SpecialId {
  const char *key, *meaning;
  std::optional<int64_t> id;
};

std::vector<SpecialId> special_ids(const tokenizers::Tokenizer& t) {
  return {{"pad_token_id", "padding (pad_token)", t.pad_id()},
          {"eos_token_id", "the end of a text (eos_token)", t.eos_id() ? t.eos_id() : t.sep_id()},
          {"bos_token_id", "the beginning of a text (bos_token)", t.bos_id() ? t.bos_id() : t.cls_id()}};
}

std::optional<int64_t> number(const Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && found->is_number_integer() ? std::optional(found->get<int64_t>()) : std::nullopt;
}

// The key of the special token that the variant's decoder begins with.
const char* start_role(const Json& config) {
  const auto start = number(config, "decoder_start_token_id");
  for (const char* key : {"pad_token_id", "eos_token_id"}) {
    if (start && number(config, key) == start) return key;
  }
  return "bos_token_id";
}

// Those keys of a variant, or of one of its two halves, that the tokenizer decides.
Json part_for(const std::vector<SpecialId>& ids, int64_t size, const Json& config, const Json& given) {
  Json keys = Json::object();
  if (!given.contains("vocab_size")) keys["vocab_size"] = size;
  for (const auto& special : ids) {
    if (given.contains(special.key)) continue;
    if (special.id) keys[special.key] = *special.id;
    else if (std::string_view(special.key) == "bos_token_id") keys[special.key] = nullptr;
    else if (number(config, special.key))
      throw UsageError(std::string("recipe: tokenizer: it has no token for ") + special.meaning + ", which the network needs; name one in its tokenizer_config.json, or an id by config." + special.key);
  }
  return keys;
}

void check_ids_within(const Json& keys, const Json& given, int64_t size) {
  const int64_t rows = number(given, "vocab_size").value_or(size);
  if (rows < size)
    throw UsageError("recipe: config.vocab_size is " + std::to_string(rows) + ", but the tokenizer has " + std::to_string(size) + " tokens; leave the key away, or give " +
                     std::to_string(size) + " or more");
  for (const char* key : {"pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id"}) {
    const auto id = number(given, key) ? number(given, key) : number(keys, key);
    if (id && (*id < 0 || *id >= rows)) throw UsageError(std::string("recipe: config.") + key + " is " + std::to_string(*id) + "; expected an id from 0 to " + std::to_string(rows - 1));
  }
}

void check_end(const tokenizers::Tokenizer& tokenizer, std::optional<int64_t> end) {
  const auto ids = tokenizer.encode("a").ids;
  if (ids.empty() || !end || ids.back() == *end) return;
  throw UsageError("recipe: tokenizer: it ends a text with token " + std::to_string(ids.back()) + " (" + tokenizer.id_to_token(ids.back()) +
                   "), and the network's eos_token_id is " + std::to_string(*end) + ", so that it would never learn to end one; expected a tokenizer that adds it "
                   "(add_eos_token in its tokenizer_config.json), or the other id as config.eos_token_id");
}

}  // namespace tokenizer_choice_detail

fs::path tokenizer_folder_of(const fs::path& run) { return run / "tokenizer"; }

void place_tokenizer(const TokenizerChoice& choice, const Entry& network, const fs::path& run, const std::function<std::vector<std::string>()>& texts) {
  const fs::path folder = tokenizer_folder_of(run), working = folder.string() + ".partial";
  if (on_disk(folder)) return;
  remove_tree(working);
  fs::create_directories(working);
  try {
    tokenizer_choice_detail::write_files(choice, network, working, texts);
    fs::rename(working, folder);
  } catch (...) {
    std::error_code ignored;
    remove_tree(working, ignored);
    throw;
  }
}

Json config_for_tokenizer(const tokenizers::Tokenizer& tokenizer, const Json& config, const Json& given) {
  namespace d = tokenizer_choice_detail;
  const int64_t size = d::size_of(tokenizer);
  const auto ids = d::special_ids(tokenizer);
  Json keys = d::part_for(ids, size, config, given);
  for (const char* half : {"encoder", "decoder"}) {  // a network that is assembled of two
    if (!config.contains(half) || !config.at(half).is_object() || given.contains(half)) continue;
    keys.erase("vocab_size");
    keys[half] = config.at(half);
    keys[half].update(d::part_for(ids, size, config.at(half), Json::object()));
  }
  if (d::number(config, "decoder_start_token_id")) {
    const char* role = d::start_role(config);
    const auto id = d::number(given, role) ? d::number(given, role) : d::number(keys, role);
    if (!id && !given.contains("decoder_start_token_id"))
      throw UsageError("recipe: tokenizer: it has no token with which the network's decoder could begin; give an id as config.decoder_start_token_id");
    if (!given.contains("decoder_start_token_id")) keys["decoder_start_token_id"] = *id;
    d::check_end(tokenizer, d::number(given, "eos_token_id") ? d::number(given, "eos_token_id") : d::number(keys, "eos_token_id"));
  }
  d::check_ids_within(keys, given, size);
  return keys;
}

}  // namespace zoo::app
