// Fields: one function per network names its configuration's keys, checks their ranges, and serves both directions.
//
//   struct Config {
//     int64_t hidden_size = 768;
//     void fields(Fields& f) { f.size("hidden_size", hidden_size); }
//   };
//   auto config = read_config<Config>("vit", json);   // strict: an unknown key is an error that names the nearest
//   Json json = write_config(config);
#pragma once
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "models/model.h"

namespace zoo {

class Fields {
 public:
  enum class Mode { read, write };
  Fields(Mode mode, std::string model, Json json) : mode_(mode), model_(std::move(model)), json_(std::move(json)) {}

  void size(const std::string& key, int64_t& value);        // 1 .. 2^31
  void optional_size(const std::string& key, int64_t& value);  // null or absent: the value stays
  void depth(const std::string& key, int64_t& value);       // 1 .. 1024: how often a layer repeats
  void count(const std::string& key, int64_t& value);       // 0 .. 2^31
  void number(const std::string& key, double& value);       // finite
  void probability(const std::string& key, double& value);  // 0 <= p < 1
  void optional_probability(const std::string& key, double& value);  // null or absent: the value stays
  void epsilon(const std::string& key, double& value);      // > 0
  void sizes(const std::string& key, std::vector<int64_t>& values);  // 1 to 64 of 1 .. 2^31: one per stage
  void flag(const std::string& key, bool& value);
  void text(const std::string& key, std::string& value);
  void one_of(const std::string& key, std::string& value, const std::vector<std::string>& allowed);
  // How many classes the head has: the size of Hugging Face's "id2label", else the number under `key`, else the value.
  void labels(const std::string& key, int64_t& count);
  // A size that the reference also accepts as a pair: 224 or [224, 224]. Unequal sides are refused.
  void square(const std::string& key, int64_t& value);
  // A key that is read but must hold this value: the network implements nothing else.
  void fixed(const std::string& key, const Json& value);
  // Keys with no effect on the numbers here.
  void ignored(const std::vector<std::string>& keys) { known_.insert(keys.begin(), keys.end()); }
  // Refuses a combination of values: `what` says value seen, value expected, what to do.
  void require(bool condition, const std::string& what) const;

  // Throws for keys that were never named; the bookkeeping keys of Hugging Face configs are tolerated.
  void finish() const;
  const Json& json() const { return json_; }

 private:
  const Json* find(const std::string& key);
  template <class T>
  void whole(const std::string& key, T& value, int64_t low, int64_t high = int64_t{1} << 31);
  template <class T>
  void real(const std::string& key, T& value, double low, bool low_open, double high, const char* range);
  [[noreturn]] void wrong(const std::string& key, const Json& seen, const std::string& expected) const;

  Mode mode_;
  std::string model_;
  Json json_;
  std::set<std::string> known_;
};

template <class Config>
Config read_config(const std::string& model, const Json& json) {
  Fields fields(Fields::Mode::read, model, json);
  fields.require(json.is_object(), "config is not a JSON object");
  Config config;
  config.fields(fields);
  fields.finish();
  return config;
}

template <class Config>
Json write_config(Config config) {
  Fields fields(Fields::Mode::write, "", Json::object());
  config.fields(fields);
  return fields.json();
}

// The first entry of "architectures", or `fallback` when there is none; refuses what is not in `known`.
std::string architecture_of(const std::string& model, const Json& config, const std::string& fallback,
                            const std::vector<std::string>& known);

}  // namespace zoo
