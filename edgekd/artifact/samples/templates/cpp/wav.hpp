// Sounds as WAV files of whole numbers, 8 to 32 bits: samples in -1..1, the channels mixed to one.
#pragma once

#include <string>

#include "npy.hpp"

inline Array<float> read_wav(const std::string& path, std::uint32_t rate) {
  const std::string data = read_file(path);
  const auto number = [&](std::size_t at, int bytes) {  // little endian
    std::uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= std::uint32_t(static_cast<unsigned char>(data.at(at + i))) << 8 * i;
    return value;
  };
  if (data.compare(0, 4, "RIFF") != 0 || data.compare(8, 4, "WAVE") != 0) throw std::runtime_error(path + " is no WAV");
  std::uint32_t channels = 0, bytes = 0;
  for (std::size_t at = 12;; at += 8 + number(at + 4, 4) + number(at + 4, 4) % 2) {
    const std::string name = data.substr(at, 4);
    if (name == "fmt ") {
      const std::uint32_t coding = number(at + 8, 2) == 0xfffe ? number(at + 32, 2) : number(at + 8, 2);
      if (coding != 1) throw std::runtime_error(path + " holds no whole numbers");
      if (number(at + 12, 4) != rate) {
        throw std::runtime_error(path + " has " + std::to_string(number(at + 12, 4)) + " samples a second; bring it to " +
                                 std::to_string(rate) + " first");
      }
      channels = number(at + 10, 2);
      bytes = number(at + 22, 2) / 8;
    } else if (name == "data") {
      if (channels < 1 || bytes < 1 || bytes > 4) throw std::runtime_error(path + " says nothing sound of its samples");
      const std::size_t frames = number(at + 4, 4) / (channels * bytes);
      Array<float> sound{{static_cast<std::int64_t>(frames)}, {}};
      for (std::size_t frame = 0; frame < frames; ++frame) {
        double sum = 0;
        for (std::uint32_t channel = 0; channel < channels; ++channel) {
          const std::uint32_t value = number(at + 8 + (frame * channels + channel) * bytes, static_cast<int>(bytes));
          const std::uint32_t top = (value ^ (bytes == 1 ? 0x80 : 0)) << (32 - 8 * bytes);
          sum += static_cast<std::int32_t>(top) / 2147483648.0;
        }
        sound.values.push_back(static_cast<float>(sum / channels));
      }
      return sound;
    }
  }
}
