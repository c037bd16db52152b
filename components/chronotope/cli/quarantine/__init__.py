"""Commands around refused rows."""
