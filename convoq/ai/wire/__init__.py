"""What servers of a dialect really answer, made into what the dialect says."""
