"""The Twilio channel. Import its modules, not this: the webhook needs only the light ones."""
