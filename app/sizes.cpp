#include "app/sizes.h"

#include "app/files.h"
#include "app/resources.h"
#include "models/names.h"
#include "weights/files.h"

namespace zoo::app {
namespace sizes_detail {

std::filesystem::path file() { return cache_folder() / "sizes.json"; }

// Changes whenever the program is built or installed anew.
std::string program_stamp() { return program_path().string() + " " + file_stamp(program_path()); }

}  // namespace sizes_detail

Sizes::Sizes() {
  try {
    if (!on_disk(sizes_detail::file())) return;
    const Json kept = read_json(sizes_detail::file());
    if (kept.at("program") == sizes_detail::program_stamp()) counts_ = kept.at("parameters").get<std::map<std::string, int64_t>>();
  } catch (const std::exception&) {
    counts_ = Json::object();  // a cache only: everything in it can be counted again
  }
}

int64_t Sizes::of(const Entry& entry, const std::string& variant) {
  const std::string name = entry.name + ":" + variant;
  {
    const std::lock_guard guard(lock_);
    if (const auto known = counts_.find(name); known != counts_.end()) return known->get<int64_t>();
  }
  // Costs address space only: the memory of at::empty is never touched.
  const int64_t count = parameter_count(*entry.make(variant_config(entry, variant)));
  const std::lock_guard guard(lock_);
  counts_[name] = count;
  changed_ = true;
  return count;
}

void Sizes::save() const {
  if (!changed_) return;
  try {
    std::filesystem::create_directories(cache_folder());
    weights::write_file_atomically(sizes_detail::file(), Json{{"program", sizes_detail::program_stamp()}, {"parameters", counts_}}.dump(1) + "\n");
  } catch (const std::exception&) {
    // As the header says: the next run counts again.
  }
}

}  // namespace zoo::app
