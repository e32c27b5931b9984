"""Answers the people who write to a company's Twilio number with an AI, and loses nothing."""

__version__ = "0.1.0"
