// Reads .npy files: one array, as numpy's save writes it.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

template <typename T>
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<T> values;  // the last axis runs fastest
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

inline const char* type_name(std::uint8_t) { return "'|u1'"; }
inline const char* type_name(float) { return "'<f4'"; }
inline const char* type_name(std::int64_t) { return "'<i8'"; }

// Throws std::runtime_error for another type than T, columns first, or another number of values than the header says.
template <typename T>
Array<T> read_npy(const std::string& path) {
  const std::string data = read_file(path);
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(data.at(at)); };
  if (data.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0) throw std::runtime_error(path + " is no .npy file");
  const std::size_t start = 10 + byte(8) + 256 * byte(9);
  const std::string header = data.substr(10, start - 10);
  const std::size_t open = header.find('('), close = header.find(')');
  if (header.find(type_name(T())) == std::string::npos || header.find("False") == std::string::npos ||
      close == std::string::npos || open > close || start > data.size()) {
    throw std::runtime_error(path + " is not of " + type_name(T()) + ", row after row");
  }
  Array<T> array;
  std::size_t count = 1;
  for (std::size_t at = open + 1; at < close; at = header.find_first_of(",)", at) + 1) {
    if (header.find_first_of("0123456789", at) > close) break;
    array.shape.push_back(std::stoll(header.substr(at)));
    count *= static_cast<std::size_t>(array.shape.back());
  }
  if (count != (data.size() - start) / sizeof(T)) throw std::runtime_error(path + " is cut off");
  array.values.resize(count);
  std::memcpy(array.values.data(), data.data() + start, count * sizeof(T));
  return array;
}
