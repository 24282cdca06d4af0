// How fast a tokenizer is on the lines of a file: `tokenizer_speed FOLDER FILE THREADS` prints one line of JSON. Started by
// tests/bench/tokenizer_speed.py, which builds it against the library and measures the reference beside it.
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "tokenizers/tokenizer.h"

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// All lines at once, each thread a part of them; the encodings are kept, as a batch would be.
size_t encode_batch(const zoo::tokenizers::Tokenizer& tokenizer, const std::vector<std::string>& lines, size_t threads) {
  std::vector<zoo::tokenizers::Encoding> out(lines.size());
  std::vector<std::thread> workers;
  for (size_t t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      for (size_t i = lines.size() * t / threads; i < lines.size() * (t + 1) / threads; ++i) out[i] = tokenizer.encode(lines[i]);
    });
  }
  for (auto& worker : workers) worker.join();
  size_t tokens = 0;
  for (const auto& encoding : out) tokens += encoding.ids.size();
  return tokens;
}

template <typename Work>
double best_of(int rounds, Work work) {
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "usage: tokenizer_speed FOLDER FILE THREADS\n";
    return 2;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto tokenizer = zoo::tokenizers::load(words[1]);
  const double load = seconds_since(start);
  std::ifstream file(words[2], std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  const size_t threads = std::stoul(words[3]);
  size_t tokens = 0, single_tokens = 0;
  const double batch = best_of(5, [&] { tokens = encode_batch(*tokenizer, lines, threads); });
  const double single = best_of(5, [&] {
    single_tokens = 0;
    for (const auto& line : lines) single_tokens += tokenizer->encode(line).ids.size();
  });
  std::cout << "{\"load\": " << load << ", \"lines\": " << lines.size() << ", \"tokens\": " << tokens << ", \"batch\": " << batch
            << ", \"single\": " << single << "}" << std::endl;
  return tokens == single_tokens ? 0 : 1;
}
