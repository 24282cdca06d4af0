#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <stdexcept>

#include "weights/pickle.h"
#include "weights/zip.h"

namespace zoo::weights {

namespace torch_file_detail {

using Kind = PickleValue::Kind;

constexpr std::array<std::string_view, 6> kStateDictKeys{"state_dict", "model",  "model_state_dict",
                                                         "state_dict_ema", "module", "net"};
constexpr std::string_view kLegacyMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
// A stride of 0 lets a few stored bytes stand for any number of elements; real state dicts stay far below
// this.
constexpr uint64_t kMaxExpandedBytes = 64u << 20;

// Where a storage lies in the file.
struct Place {
  uint64_t offset = 0, bytes = 0;
};
using FindStorage = std::function<Place(const PickledStorage&)>;

bool holds_tensors(const PickleValue& value) {
  if (value.kind != Kind::dict) return false;
  for (size_t i = 1; i < value.items.size(); i += 2) {
    if (value.items[i]->kind == Kind::tensor) return true;
  }
  return false;
}

const PickleValue& find_state_dict(const PickleValue& top) {
  if (holds_tensors(top)) return top;
  std::string keys;
  if (top.kind == Kind::dict) {
    for (std::string_view key : kStateDictKeys) {
      const PickleValue* inner = top.find(key);
      if (inner && holds_tensors(*inner)) return *inner;
    }
    for (size_t i = 0; i < top.items.size() && keys.size() < 200; i += 2) {
      if (top.items[i]->kind == Kind::text)
        keys += (keys.empty() ? "" : ", ") + std::string(top.items[i]->text.substr(0, 40));
    }
  }
  std::string looked;
  for (std::string_view key : kStateDictKeys) looked += (looked.empty() ? "" : ", ") + std::string(key);
  throw std::runtime_error(
      "no state dict found: the top level is " +
      (top.kind == Kind::dict ? "a dict with the keys [" + keys + "]" : std::string("no dict")) +
      " and holds no tensors; looked for them there and under " + looked);
}

MappedTensor place_tensor(const PickledTensor& pickled, const std::shared_ptr<const MappedFile>& file,
                          const Place& place) {
  MappedTensor tensor{file, place.offset, pickled.dtype, pickled.shape, pickled.strides};
  const uint64_t element = c10::elementSize(pickled.dtype);
  const uint64_t elements = static_cast<uint64_t>(checked_elements(pickled.shape));
  const uint64_t stored = place.bytes / element;
  // The last element reached is bounded step by step: each factor may be any 63-bit number.
  unsigned __int128 last = static_cast<unsigned __int128>(pickled.offset) + pickled.storage.view_offset;
  for (size_t i = 0; i < tensor.shape.size() && elements > 0; ++i) {
    last += static_cast<unsigned __int128>(tensor.shape[i] - 1) * static_cast<uint64_t>(tensor.strides[i]);
  }
  if (elements > 0 && last >= stored) {
    throw std::runtime_error("shape " + shape_text(tensor.shape) + " with strides " +
                             shape_text(tensor.strides) + " at offset " + std::to_string(pickled.offset) +
                             " reaches beyond its storage of " + std::to_string(stored) + " elements");
  }
  if (elements > stored && elements > kMaxExpandedBytes / element) {
    throw std::runtime_error("shape " + shape_text(tensor.shape) + " expands a storage of only " +
                             std::to_string(stored) + " elements");
  }
  if (elements > 0) tensor.offset += (pickled.offset + pickled.storage.view_offset) * element;
  return tensor;
}

TensorFile collect(const PickleValue& top, const Unpickler& pickle,
                   const std::shared_ptr<const MappedFile>& file, const FindStorage& find_storage) {
  const PickleValue& dict = find_state_dict(top);
  TensorFile result;
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const PickleValue &key = *dict.items[i], &value = *dict.items[i + 1];
    if (value.kind != Kind::tensor || key.kind != Kind::text) continue;
    const std::string name(key.text.substr(0, kMaxNameBytes));
    if (name.size() < key.text.size())
      throw std::runtime_error("\"" + name.substr(0, 80) + "...\": the name is too long");
    const PickledTensor& tensor = pickle.tensors()[static_cast<size_t>(value.integer)];
    try {
      result.tensors.push_back({name, place_tensor(tensor, file, find_storage(tensor.storage))});
    } catch (const std::runtime_error& error) {
      throw std::runtime_error("\"" + name.substr(0, 200) + "\": " + error.what());
    }
  }
  return result;
}

// The archive's only folder, whatever its name: archive/data.pkl, archive/data/0, archive/byteorder.
std::string archive_prefix(const ZipArchive& archive) {
  for (const auto& [name, entry] : archive.entries()) {
    const size_t slash = name.find('/');
    if (slash != std::string::npos && name.substr(slash) == "/data.pkl") return name.substr(0, slash + 1);
  }
  throw std::runtime_error("a zip archive without data.pkl: not written by torch.save");
}

TensorFile read_zip(const std::shared_ptr<const MappedFile>& file) {
  const ZipArchive archive(*file);
  const std::string prefix = archive_prefix(archive);
  if (archive.entries().count(prefix + "constants.pkl")) {
    throw std::runtime_error(
        "a TorchScript program, not weights; save its state dict as safetensors in Python");
  }
  if (const ZipEntry* order = archive.find(prefix + "byteorder")) {
    const std::string_view text = file->bytes(order->offset, order->size);
    if (text != "little")
      throw std::runtime_error("byte order \"" + std::string(text.substr(0, 20)) +
                               "\"; only little is supported");
  }
  const ZipEntry data = *archive.find(prefix + "data.pkl");
  Unpickler pickle(*file, data.offset, data.offset + data.size);
  const PickleValue& top = pickle.run();
  return collect(top, pickle, file, [&](const PickledStorage& storage) {
    const ZipEntry* entry = archive.find(prefix + "data/" + storage.key);
    if (!entry)
      throw std::runtime_error("its storage \"" + storage.key.substr(0, 80) + "\" is not in the archive");
    return Place{entry->offset, entry->size};
  });
}

std::map<std::string, Place> legacy_places(const MappedFile& file, const PickleValue& keys,
                                           const Unpickler& pickle) {
  std::map<std::string, Place> places;
  if (keys.kind != Kind::list) throw std::runtime_error("damaged: the list of storages is missing");
  ByteReader reader(file, pickle.position(), file.size());
  for (const PickleValue* key : keys.items) {
    const auto storage =
        key->kind == Kind::text ? pickle.storages().find(key->text) : pickle.storages().end();
    if (storage == pickle.storages().end())
      throw std::runtime_error("damaged: a storage that no tensor uses");
    const uint64_t elements = reader.number<uint64_t>();
    if (elements != storage->second.elements) {
      throw std::runtime_error("storage \"" + storage->first.substr(0, 80) + "\" holds " +
                               std::to_string(elements) + " elements, announced were " +
                               std::to_string(storage->second.elements));
    }
    const uint64_t element = c10::elementSize(storage->second.dtype);
    if (elements > reader.remaining() / element) {
      throw std::runtime_error("storage \"" + storage->first.substr(0, 80) +
                               "\" reaches beyond the file (truncated?)");
    }
    places.emplace(storage->first, Place{reader.position(), elements * element});
    reader.take(elements * element);
  }
  return places;
}

// Four pickles (magic number, protocol, system, the object), the list of storage keys as a fifth, then for
// each storage its number of elements and its bytes.
TensorFile read_legacy(const std::shared_ptr<const MappedFile>& file) {
  Unpickler pickle(*file, 0, file->size());
  const PickleValue& magic = pickle.run();
  if (magic.kind != Kind::bytes || magic.text != kLegacyMagic) {
    throw std::runtime_error("a plain pickle, not a file of torch.save");
  }
  pickle.run();
  const PickleValue& system = pickle.run();
  const PickleValue* little = system.kind == Kind::dict ? system.find("little_endian") : nullptr;
  if (!little || little->kind != Kind::boolean || little->integer != 1) {
    throw std::runtime_error("not written on a little-endian machine; only that byte order is supported");
  }
  const PickleValue& top = pickle.run();
  const PickleValue& keys = pickle.run();
  const auto places = legacy_places(*file, keys, pickle);
  return collect(top, pickle, file, [&](const PickledStorage& storage) {
    const auto found = places.find(storage.key);
    if (found == places.end())
      throw std::runtime_error("its storage \"" + storage.key.substr(0, 80) + "\" is not in the file");
    return found->second;
  });
}

}  // namespace torch_file_detail

TensorFile read_torch_file(const std::shared_ptr<const MappedFile>& file) {
  try {
    const bool zip = file->size() >= 2 && file->bytes(0, 2) == "PK";
    return zip ? torch_file_detail::read_zip(file) : torch_file_detail::read_legacy(file);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(file->path().string() + ": " + error.what());
  }
}

}  // namespace zoo::weights
