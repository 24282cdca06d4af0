#include <stdexcept>

#include "tokenizers/readers.h"

namespace zoo::tokenizers {

std::unique_ptr<Tokenizer> load(const std::filesystem::path& folder_or_file) {
  namespace fs = std::filesystem;
  if (!fs::exists(folder_or_file)) {
    throw std::runtime_error(folder_or_file.string() +
                             ": no such file or folder; expected a checkpoint folder with " +
                             "tokenizer.json or vocab.txt, or one of these files");
  }
  if (!fs::is_directory(folder_or_file)) {
    const bool is_json = folder_or_file.extension() == ".json";
    return is_json ? read_tokenizer_json(folder_or_file) : read_vocab_txt(folder_or_file);
  }
  if (fs::exists(folder_or_file / "tokenizer.json"))
    return read_tokenizer_json(folder_or_file / "tokenizer.json");
  if (fs::exists(folder_or_file / "vocab.txt")) return read_vocab_txt(folder_or_file / "vocab.txt");
  throw std::runtime_error(folder_or_file.string() +
                           ": no tokenizer in this folder; looked for tokenizer.json and vocab.txt");
}

std::vector<std::string> tokenizer_files() {
  return {"added_tokens.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
          "vocab.txt"};
}

}  // namespace zoo::tokenizers
