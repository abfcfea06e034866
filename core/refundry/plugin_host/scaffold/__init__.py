"""What `refundry plugins new` writes."""
