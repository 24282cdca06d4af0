// How many parameters each variant of each network has. Counting means making the network, which takes longer than everything else that `zoo list`
// does; so the counts are kept between runs, in the user's cache folder, for as long as the program stays the same file.
#pragma once
#include <mutex>
#include <string>

#include "models/model.h"
#include "models/registry.h"

namespace zoo::app {

class Sizes {
 public:
  // Reads what an earlier run of this very program left; anything else there (another program's, or no JSON at all) counts as nothing.
  Sizes();
  // Tied tensors count once. May be asked from several threads.
  int64_t of(const Entry& entry, const std::string& variant);
  // Keeps what was counted anew. A folder that cannot be written to is no error: the next run counts again.
  void save() const;

 private:
  std::mutex lock_;
  Json counts_ = Json::object();
  bool changed_ = false;
};

}  // namespace zoo::app
