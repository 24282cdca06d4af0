#include "tokenizers/string_table.h"

#include <bit>
#include <cstring>
#include <random>

namespace zoo::tokenizers {
namespace string_table_detail {

uint64_t draw_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

const uint64_t kSeed = draw_seed();

uint64_t mix(uint64_t x) {
  const auto product = static_cast<unsigned __int128>(x) * 0x9E3779B97F4A7C15ULL;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace string_table_detail

uint64_t StringTable::hash(std::string_view text) {
  namespace detail = string_table_detail;
  uint64_t h = detail::kSeed ^ text.size();
  const char* at = text.data();
  size_t left = text.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t chunk;
    std::memcpy(&chunk, at, 8);
    h = detail::mix(h ^ chunk);
  }
  uint64_t rest = 0;
  for (size_t i = 0; i < left; ++i) rest = rest << 8 | static_cast<uint8_t>(at[i]);
  return detail::mix(h ^ rest ^ detail::kSeed << 1);
}

void StringTable::reserve(size_t entries) {
  const auto old = std::move(slots_);
  slots_.assign(std::bit_ceil(entries * 2 + 2), Slot{});
  size_ = 0;
  for (const auto& slot : old)
    if (slot.text) insert({slot.text, slot.length}, slot.value);
}

void StringTable::insert(std::string_view text, uint32_t value) {
  if ((size_ + 1) * 2 > slots_.size()) reserve(size_ * 2 + 16);
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash(text) & mask;; i = (i + 1) & mask) {
    Slot& slot = slots_[i];
    if (!slot.text) {
      slot = {text.empty() ? "" : text.data(), static_cast<uint32_t>(text.size()), value};
      ++size_;
      return;
    }
    if (std::string_view(slot.text, slot.length) == text) {
      slot.value = value;
      return;
    }
  }
}

uint32_t StringTable::find(std::string_view text) const {
  if (slots_.empty()) return kNone;
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash(text) & mask;; i = (i + 1) & mask) {
    const Slot& slot = slots_[i];
    if (!slot.text) return kNone;
    if (slot.length == text.size() && std::memcmp(slot.text, text.data(), text.size()) == 0) return slot.value;
  }
}

}  // namespace zoo::tokenizers
