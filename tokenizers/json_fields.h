// Checked access to the fields of an untrusted JSON document: every complaint names the field, what it is
// and what it should be.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace zoo::tokenizers {

using Json = nlohmann::json;

/// A JSON value and the path that leads to it ("model.vocab"), for messages. The document must outlive it.
class JsonField {
 public:
  JsonField(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const Json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool is_null() const { return value_->is_null(); }
  bool has(const std::string& key) const;  // an object with this key, not null

  /// Throw std::runtime_error when the value has another type, or the key is missing.
  JsonField at(const std::string& key) const;
  std::string string() const;
  bool boolean() const;
  uint32_t id() const;  // integer in [0, 2^32)
  std::vector<JsonField> list() const;
  const Json::object_t& object() const;

  std::string string_or(const std::string& key, const std::string& fallback) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  std::optional<bool> optional_boolean(const std::string& key) const;

  /// Throws std::runtime_error: "<path> is <what the value is>; expected <expected>".
  [[noreturn]] void fail(const std::string& expected) const;

 private:
  const Json* value_;
  std::string path_;
};

/// The `type` of a part of tokenizer.json is not one this program knows.
[[noreturn]] void fail_unsupported(const JsonField& part, const std::string& type,
                                   const std::string& supported);

/// Parses a document that may be hostile; objects and lists may be nested at most 64 deep.
Json parse_json(const std::string& text);

}  // namespace zoo::tokenizers
