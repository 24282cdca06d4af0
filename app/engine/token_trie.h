// TokenTrie: sequences of tokens as a tree, for outputs that must be one of a list.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace zoo::app {

class TokenTrie {
 public:
  void add(std::span<const int64_t> ids);
  // Which tokens may follow `read`, in ascending order; none when no sequence goes on from there.
  std::vector<int64_t> next(std::span<const int64_t> read) const;
  int64_t longest() const { return longest_; }  // of the sequences

 private:
  std::vector<std::map<int64_t, size_t>> nodes_ = std::vector<std::map<int64_t, size_t>>(1);  // token -> node
  int64_t longest_ = 0;
};

}  // namespace zoo::app
