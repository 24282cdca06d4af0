#include <algorithm>
#include <stdexcept>

#include "tokenizers/readers.h"

namespace zoo::tokenizers {
namespace load_detail {

constexpr auto kLookedFor = "tokenizer.json, vocab.json with merges.txt, spiece.model, sentencepiece.bpe.model, tokenizer.model or vocab.txt";
constexpr const char* kSentencePiece[] = {"spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model"};

std::unique_ptr<Tokenizer> from_folder(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  if (fs::exists(folder / "tokenizer.json")) return read_tokenizer_json(folder / "tokenizer.json");
  const bool vocab = fs::exists(folder / "vocab.json"), merges = fs::exists(folder / "merges.txt");
  if (vocab && merges) return read_vocab_merges(folder / "vocab.json", folder / "merges.txt");
  for (const char* name : kSentencePiece)
    if (fs::exists(folder / name)) return read_sentencepiece(folder / name);
  if (fs::exists(folder / "vocab.txt")) return read_vocab_txt(folder / "vocab.txt");
  if (vocab || merges) {
    throw std::runtime_error(folder.string() + ": has " + (vocab ? "vocab.json without merges.txt" : "merges.txt without vocab.json") +
                             "; a byte-level tokenizer is both files");
  }
  throw std::runtime_error(folder.string() + ": no tokenizer in this folder; looked for " + kLookedFor);
}

}  // namespace load_detail

std::unique_ptr<Tokenizer> load(const std::filesystem::path& folder_or_file) {
  namespace fs = std::filesystem;
  if (!fs::exists(folder_or_file)) {
    throw std::runtime_error(folder_or_file.string() + ": no such file or folder; expected a checkpoint folder with " +
                             load_detail::kLookedFor + ", or one of these files");
  }
  if (fs::is_directory(folder_or_file)) return load_detail::from_folder(folder_or_file);
  const auto extension = folder_or_file.extension();
  if (folder_or_file.filename() == "vocab.json" || folder_or_file.filename() == "merges.txt")
    return read_vocab_merges(folder_or_file.parent_path() / "vocab.json", folder_or_file.parent_path() / "merges.txt");
  if (extension == ".json") return read_tokenizer_json(folder_or_file);
  if (extension == ".model") return read_sentencepiece(folder_or_file);
  return read_vocab_txt(folder_or_file);
}

std::vector<std::string> tokenizer_files() {
  return {"added_tokens.json", "merges.txt", "sentencepiece.bpe.model", "special_tokens_map.json", "spiece.model", "spm.model",
          "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt"};
}

}  // namespace zoo::tokenizers
