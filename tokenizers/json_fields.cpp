#include "tokenizers/json_fields.h"

#include <limits>
#include <stdexcept>

namespace zoo::tokenizers {
namespace json_detail {

constexpr int kDeepest = 64;
constexpr size_t kLongestShown = 60;

std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kLongestShown) text = text.substr(0, kLongestShown) + "...";
  return text;
}

}  // namespace json_detail

void JsonField::fail(const std::string& expected) const {
  throw std::runtime_error(path_ + " is " + json_detail::shown(*value_) + "; expected " + expected);
}

bool JsonField::has(const std::string& key) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

JsonField JsonField::at(const std::string& key) const {
  const auto& members = object();
  const auto found = members.find(key);
  const std::string path = path_.empty() ? key : path_ + "." + key;
  if (found == members.end()) throw std::runtime_error(path + " is missing");
  return {found->second, path};
}

std::string JsonField::string() const {
  if (!value_->is_string()) fail("a string");
  return value_->get<std::string>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) fail("true or false");
  return value_->get<bool>();
}

uint32_t JsonField::id() const {
  if (!value_->is_number_unsigned() || value_->get<uint64_t>() > std::numeric_limits<uint32_t>::max()) {
    fail("a token id, an integer from 0 to 4294967295");
  }
  return value_->get<uint32_t>();
}

std::vector<JsonField> JsonField::list() const {
  if (!value_->is_array()) fail("a list");
  std::vector<JsonField> out;
  for (size_t i = 0; i < value_->size(); ++i)
    out.emplace_back((*value_)[i], path_ + "[" + std::to_string(i) + "]");
  return out;
}

const Json::object_t& JsonField::object() const {
  if (!value_->is_object()) {
    if (path_.empty())
      throw std::runtime_error("the document is " + json_detail::shown(*value_) + "; expected an object");
    fail("an object");
  }
  return value_->get_ref<const Json::object_t&>();
}

std::string JsonField::string_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? at(key).string() : fallback;
}

bool JsonField::boolean_or(const std::string& key, bool fallback) const {
  return has(key) ? at(key).boolean() : fallback;
}

std::optional<bool> JsonField::optional_boolean(const std::string& key) const {
  if (!has(key)) return std::nullopt;
  return at(key).boolean();
}

void fail_unsupported(const JsonField& part, const std::string& type, const std::string& supported) {
  throw std::runtime_error(part.path() + ".type is \"" + type + "\"; supported: " + supported);
}

Json parse_json(const std::string& text) {
  const auto refuse_deep = [](int depth, Json::parse_event_t event, Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= json_detail::kDeepest) {
      throw std::runtime_error("nested more than " + std::to_string(json_detail::kDeepest) + " deep");
    }
    return true;
  };
  try {
    return Json::parse(text, refuse_deep);
  } catch (const Json::parse_error& error) {
    throw std::runtime_error("not valid JSON at byte " + std::to_string(error.byte) +
                             " (is the file complete?): " + error.what());
  } catch (const Json::exception& error) {  // a number beyond the range of double
    throw std::runtime_error(std::string("not usable JSON: ") + error.what());
  }
}

}  // namespace zoo::tokenizers
