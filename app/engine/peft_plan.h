// Where the parts of an adapted network lie: the base's folder, the adapters' folders, and what these say about the head.
#pragma once
#include <string>
#include <vector>

#include "models/model.h"
#include "weights/adapter.h"

namespace zoo::app {

struct AdapterPlan {
  struct Item {
    weights::Adapter adapter;
    double weight = 1.0;
  };
  std::string base;               // what to load before: checkpoint folder or name[:variant]
  std::filesystem::path own;      // the model argument where it is an adapter folder itself; its files go before the base's
  std::vector<Item> items;

  bool empty() const { return items.empty(); }
  // Where a file that may lie beside the adapter or beside the base is to be read.
  std::filesystem::path folder_with(const std::string& file) const;
};

// The checkpoint folder that an adapter was made for: under its base_model_name_or_path, as that stands, inside the adapter
// or beside it. Empty when there is none here.
std::filesystem::path base_of_adapter(const std::filesystem::path& adapter);

// `spec`: as for load_bundle, or an adapter folder, whose base is found by its base_model_name_or_path (as it stands, or
// beside the adapter). `more`: "DIR" or "DIR:weight". Throws UsageError when a base is not found and for a bad weight.
AdapterPlan plan_adapters(const std::string& spec, const std::vector<std::string>& more);

// What shows that an adapter was made for another base than `base`, checkpoint folders both: the sizes in which its config.json, if it
// brings one, differs from the base's. Empty when there is nothing to say, else lines that begin with a line break.
std::string other_sizes(const std::filesystem::path& adapter, const std::filesystem::path& base);

// The config of the network that the plan asks for: the base's with the adapters' head (class, class names) put over it.
// `named`: a task was asked for, so the adapters do not choose the class. Throws std::runtime_error for an adapter whose config.json
// is that of another kind of network.
Json adapted_config(const AdapterPlan& plan, Json config, bool named);

}  // namespace zoo::app
