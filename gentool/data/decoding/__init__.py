"""From files of pictures to uint8 arrays: listing, decoding in processes, sizes and modes."""
